"""The command `bridge completion SHELL`.

source <(bridge completion bash)                                  in ~/.bashrc
source <(bridge completion zsh)                                   in ~/.zshrc, after compinit
bridge completion fish > ~/.config/fish/completions/bridge.fish
"""

import argparse

from bridge.cli.completion.places import places
from bridge.cli.completion.shells import SHELLS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=tuple(SHELLS), metavar="SHELL", help=", ".join(SHELLS))


def run(parsed: argparse.Namespace) -> int:
    """Print the script; return the exit code."""
    # Not before: main knows this module by its name alone.
    from bridge.cli.main import COMMANDS  # noqa: PLC0415 - see above

    print(SHELLS[parsed.shell](places(COMMANDS)), end="")
    return 0
