"""Prints, as JSON, what argparse knows of the commands of the Barman that Python finds: the parsers
are walked, and their helps are printed at several widths. Arguments: the widths."""
import argparse
import json
import os
import sys

WIDTHS = sys.argv[1:]
sys.argv = ["barman"]

import barman  # noqa: E402
import barman.cli  # noqa: E402
import barman.config  # noqa: E402


def words(text):
    return " ".join(text.split()) if text else ""


def parameter(parser, action):
    text = action.help and parser._get_formatter()._expand_help(action)
    return {
        "dest": action.dest,
        "spellings": action.option_strings or None,
        "metavar": action.metavar,
        "nargs": action.nargs,
        "required": action.required,
        "choices": None if action.choices is None else [str(c) for c in action.choices],
        "hidden": action.help is argparse.SUPPRESS,
        "kind": type(action).__name__,
        "description": words(text),
    }


def helps(parser):
    found = {}
    for width in WIDTHS:
        os.environ["COLUMNS"] = width
        found[width] = parser.format_help()
    return found


def commands():
    main = barman.cli.p
    (sub,) = [a for a in main._actions if isinstance(a, argparse._SubParsersAction)]
    found = {}
    for name, parser in sub.choices.items():
        found.setdefault(id(parser), (parser, []))[1].append(name)
    for parser, names in found.values():  # an alias may be the name itself
        own = parser.prog.split()[-1]
        yield {
            "name": own,
            "aliases": [name for name in names if name != own],
            "description": words(parser.description),
            "parameters": [parameter(parser, a) for a in parser._actions],
            "help": helps(parser),
        }


def settings():
    """The keys that the classes of the code list; those of [barman] alone stand in a method."""
    config = barman.config
    found = {}
    for name in ("ServerConfig", "ModelConfig"):
        for keys in ("KEYS", "BARMAN_KEYS"):
            found[name + "." + keys] = list(getattr(getattr(config, name, None), keys, ()))
    names = config.Config.validate_global_config.__code__.co_consts
    flat = [c for part in names for c in (part if isinstance(part, tuple) else [part])]
    found["Global"] = [c for c in flat if isinstance(c, str) and c.isidentifier() and c not in ("barman",)]
    return found


json.dump(
    {
        "version": barman.__version__,
        "python": "%d.%d" % sys.version_info[:2],
        "help": helps(barman.cli.p),
        "commands": list(commands()),
        "settings": settings(),
    },
    sys.stdout,
)
