"""Which stream a family is trained on."""

from trnbench.train.data import Stream, TokenStream
from trnbench.train.fill_in import FillInStream
from trnbench.train.models import family_class
from trnbench.train.pictures import PictureStream
from trnbench.wire import Guest, ModelShape, StreamSettings


def stream_of(shape: ModelShape, sequence_length: int, settings: StreamSettings) -> Stream:
    """Return the stream of next tokens, of masked ones for an encoder, or of pictures."""
    if shape.image is not None:
        return PictureStream(settings, shape.vocabulary_size, shape.image)
    if family_class(shape.family).is_masked:
        return FillInStream(settings, shape.vocabulary_size, sequence_length)
    return TokenStream(settings, shape.vocabulary_size, sequence_length)


def stream_of_guest(guest: Guest, sequence_length: int, settings: StreamSettings) -> Stream:
    """Return the stream of next tokens, or of masked ones.

    Raises:
        ValueError: the guest has not been described.
    """
    if guest.vocabulary_size is None:
        raise ValueError("the guest's vocabulary is not known")
    kind = FillInStream if guest.task == "masked_token" else TokenStream
    return kind(settings, guest.vocabulary_size, sequence_length)
