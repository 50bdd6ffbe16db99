"""Configs from text, as the command line has them from a file."""

from collections.abc import Mapping

from trnbench.config.load import CaseConfig, check_document
from trnbench.config.yaml import parse_document


def parse_config(
    text: str, source: str, overrides: Mapping[str, str] | None = None
) -> list[CaseConfig]:
    return check_document(parse_document(text, source), overrides)
