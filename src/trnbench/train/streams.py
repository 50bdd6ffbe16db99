"""Which stream a family is trained on."""

from trnbench.train.data import Stream, TokenStream
from trnbench.train.fill_in import FillInStream
from trnbench.train.pictures import PictureStream
from trnbench.wire import ModelShape, StreamSettings


def stream_of(shape: ModelShape, sequence_length: int, settings: StreamSettings) -> Stream:
    """Return the stream of next tokens, of masked ones for an encoder, or of pictures."""
    if shape.image is not None:
        return PictureStream(settings, shape.vocabulary_size, shape.image)
    if shape.family == "bert":
        return FillInStream(settings, shape.vocabulary_size, sequence_length)
    return TokenStream(settings, shape.vocabulary_size, sequence_length)
