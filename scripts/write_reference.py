"""Write the reference pages that follow from the code: every command, and every key of a config.

.venv/bin/python scripts/write_reference.py
"""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "reference"


def commands() -> str:
    """Return the page of commands and options, as typer writes it."""
    import typer
    from typer.cli import get_docs_for_click

    from trnbench.cli.main import app

    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="trnbench")
    return get_docs_for_click(obj=group, ctx=context, name="trnbench", title="Commands")


def config_keys() -> str:
    """Return the page of a config's keys, from its JSON Schema."""
    import jsonschema_markdown
    from loguru import logger

    from trnbench.cli.schema import schema_of

    logger.remove()  # it warns of a keyword that it leaves out
    written: str = jsonschema_markdown.generate(schema_of("config"))
    return "# Keys of a config\n" + written.partition("\n")[2].replace("✅", "yes")


def main() -> None:
    """Write both pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in (("cli.md", commands()), ("config.md", config_keys())):
        (FOLDER / name).write_text(page.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
