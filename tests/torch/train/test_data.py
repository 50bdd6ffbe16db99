"""The token stream `trnbench-synth-1`: known answers, its entropy, and independence of batches."""

import hashlib
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.train.orders import STREAM
from trnbench.analysis.checks.training import stream_entropy
from trnbench.protocol.orders import StreamSettings
from trnbench.train.data import TokenStream, philox

GPT2_VOCABULARY = 50257


def make_stream(length: int, split: int = 0, **changes: float) -> TokenStream:
    settings = StreamSettings(
        alphabet_size=int(changes.get("alphabet_size", STREAM.alphabet_size)),
        noise=changes.get("noise", STREAM.noise),
        seed=int(changes.get("seed", STREAM.seed)),
    )
    return TokenStream(settings, GPT2_VOCABULARY, length, split)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_gives_its_known_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], expected: str
) -> None:
    # Source: Random123, kat_vectors, the philox4x32 lines of 10 rounds.
    c0, c1, c2, c3 = (torch.tensor([word]) for word in counter)
    words = philox((c0, c1, c2, c3), key)
    assert " ".join(f"{int(word):08x}" for word in words) == expected


def test_the_first_sequence_is_the_documented_one() -> None:
    batch = make_stream(16).batch(0, 1)
    documented = [
        30615, 4710, 25905, 31400, 8635, 45530, 29045, 47100,
        36895, 36110, 32185, 12560, 14915, 26690, 35325, 28260,
    ]  # fmt: skip
    assert batch.inputs.tolist() == [documented]
    assert batch.targets.tolist() == [[*documented[1:], 43175]]


def test_a_long_batch_has_the_documented_hash_and_oracle_loss() -> None:
    batch = make_stream(1024).batch(0, 4)
    content = batch.inputs.to(torch.int32).numpy().astype("<i4").tobytes()
    documented = "dff57efa29f5e94402760a802fcbf770175b61adefcbca5ad4df6c1c8843405c"
    assert hashlib.sha256(content).hexdigest() == documented
    assert batch.oracle_loss == pytest.approx(0.7664185484624, abs=1e-12)


def plain_philox(counter: list[int], key: list[int]) -> list[int]:
    """Ten rounds as the paper writes them, in Python's own integers."""
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * counter[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * counter[2], 2**32)
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return counter


def plain_symbols(sequence: int, length: int, split: int, settings: StreamSettings) -> list[int]:
    """Walk along one sequence by the definition."""
    low, high = settings.seed % 2**32, settings.seed // 2**32
    symbols: list[int] = []
    for t in range(length + 1):
        counter = [t, sequence % 2**32, sequence // 2**32, split]
        r0, r1, _, _ = plain_philox(counter, [low, high])
        is_drawn = not symbols or r1 < math.floor(settings.noise * 2**32 + 0.5)
        drawn = r0 * settings.alphabet_size // 2**32
        follows = (5 * symbols[-1] + 3) % settings.alphabet_size if symbols else 0
        symbols.append(drawn if is_drawn else follows)
    return symbols


@given(
    sequence=st.integers(0, 2**48),
    seed=st.integers(0, 2**63 - 1),
    split=st.integers(0, 1),
    noise=st.floats(0.0, 1.0),
    alphabet=st.sampled_from([2, 64, 256]),
)
def test_any_sequence_is_the_one_that_the_definition_gives(
    sequence: int, seed: int, split: int, noise: float, alphabet: int
) -> None:
    settings = StreamSettings(alphabet_size=alphabet, noise=noise, seed=seed)
    batch = TokenStream(settings, alphabet, 12, split).batch(sequence, 1)
    expected = plain_symbols(sequence, 12, split, settings)
    assert [*batch.inputs[0].tolist(), batch.targets[0, -1].item()] == expected


@given(
    first=st.integers(0, 2**40),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5),
)
def test_a_sequence_is_the_same_in_whatever_batch_it_comes(first: int, sizes: list[int]) -> None:
    stream = make_stream(24)
    whole = stream.batch(first, sum(sizes))
    parts, at = [], first
    for size in sizes:
        parts.append(stream.batch(at, size))
        at += size
    assert torch.equal(torch.cat([part.inputs for part in parts]), whole.inputs)
    assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
    mean = sum(p.oracle_loss * n for p, n in zip(parts, sizes, strict=True)) / sum(sizes)
    assert mean == pytest.approx(whole.oracle_loss, rel=1e-12)


@given(seed=st.integers(0, 2**63 - 1), longer=st.integers(9, 60))
def test_a_longer_sequence_begins_with_the_shorter(seed: int, longer: int) -> None:
    short, long = make_stream(8, seed=seed), make_stream(longer, seed=seed)
    assert torch.equal(long.batch(3, 2).inputs[:, :8], short.batch(3, 2).inputs)


def test_targets_are_the_inputs_one_further() -> None:
    batch = make_stream(32).batch(0, 3)
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])


@pytest.mark.parametrize("change", [{"seed": 43}, {"seed": 42 + 2**32}, {"split": 1}])
def test_another_seed_or_split_gives_other_tokens(change: dict[str, int]) -> None:
    # The high word of the seed counts too.
    split = change.pop("split", 0)
    batch, other = make_stream(64).batch(0, 2), make_stream(64, split, **change).batch(0, 2)
    assert (batch.inputs == other.inputs).float().mean() < 0.1


def test_sequences_beyond_the_first_word_of_their_number_differ() -> None:
    stream = make_stream(64)
    near, far = stream.batch(5, 1).inputs, stream.batch(5 + 2**32, 1).inputs
    assert (near == far).float().mean() < 0.2


def test_tokens_are_spread_over_the_vocabulary_evenly() -> None:
    spread = GPT2_VOCABULARY // STREAM.alphabet_size
    tokens = make_stream(1024).batch(0, 4).inputs.unique().tolist()
    assert tokens == [spread * symbol for symbol in range(STREAM.alphabet_size)]


def test_without_noise_each_token_follows_from_the_last_and_the_oracle_loses_nothing() -> None:
    batch = make_stream(64, noise=0.0).batch(0, 2)
    symbols = batch.inputs // (GPT2_VOCABULARY // STREAM.alphabet_size)
    assert torch.equal(symbols[:, 1:], (5 * symbols[:, :-1] + 3) % STREAM.alphabet_size)
    assert sorted(symbols[0].tolist()) == list(range(STREAM.alphabet_size))
    assert batch.oracle_loss == 0.0


def test_of_noise_alone_nothing_can_be_learned() -> None:
    batch = make_stream(64, noise=1.0).batch(0, 2)
    assert batch.oracle_loss == pytest.approx(math.log(STREAM.alphabet_size), rel=1e-12)


@pytest.mark.parametrize(("alphabet", "noise"), [(64, 0.1), (64, 0.05), (64, 0.2), (256, 0.1)])
def test_the_oracle_loses_the_entropy_on_average(alphabet: int, noise: float) -> None:
    stream = make_stream(1024, alphabet_size=alphabet, noise=noise)
    targets = 256 * 1024
    loss = stream.batch(0, 256).oracle_loss
    # A target that does not follow has probability p and costs `step` more than one that does.
    p = noise * (1 - 1 / alphabet)
    step = math.log((1 - noise + noise / alphabet) / (noise / alphabet))
    deviation = step * math.sqrt(p * (1 - p) / targets)
    assert abs(loss - stream_entropy(alphabet, noise)) < 4 * deviation


def test_the_oracle_loss_is_the_mean_of_each_target_s_own() -> None:
    stream = TokenStream(replace(STREAM, noise=0.3), 64, 128)
    batch = stream.batch(0, 3)
    noise = math.floor(0.3 * 2**32 + 0.5) / 2**32
    losses = [
        -math.log(noise / 64 + (1 - noise if target == (5 * given + 3) % 64 else 0.0))
        for row, following in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True)
        for given, target in zip(row, following, strict=True)
    ]
    assert batch.oracle_loss == pytest.approx(sum(losses) / len(losses), rel=1e-12)
