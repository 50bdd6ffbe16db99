"""The one form of a check's answer."""

from trnbench.schema.result import CheckOutcome, Verdict


def said(name: str, verdict: Verdict, evidence: str, advice: str | None = None) -> CheckOutcome:
    """Return what a check saw, what follows from it, and what to do about it."""
    return CheckOutcome(name=name, verdict=verdict, evidence=evidence, advice=advice)
