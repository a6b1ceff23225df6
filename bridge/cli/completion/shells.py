"""Completion scripts for bash, zsh and fish. All three work alike.

Words before the cursor are followed from place to place; the word after a flag that takes a value is that value. Then
the word at the cursor is completed: with the flag's values or with files, or with what can stand at the place.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from bridge.cli.completion.places import Flag, Place, flag_words

BASH = """\
# Completion of bridge in bash 4.0 or newer. Made by `bridge completion bash`.
_bridge() {
    local current="${COMP_WORDS[COMP_CWORD]}" place=bridge flag= word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ $flag ]]; then
            # bash makes three words of --flag=value.
            [[ $word == = ]] || flag=
            continue
        fi
        case "$place $word" in
            @COMMANDS@) place+=" $word" ;;
            @VALUED@) flag=$word ;;
        esac
    done
    [[ $current == = ]] && current=
    COMPREPLY=()
    if [[ $flag ]]; then
        case "$place $flag" in
            @FILES@)
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
@CHOICES@
        esac
        return
    fi
    case $place in
@OFFERS@
    esac
}
complete -F _bridge bridge
"""

ZSH = """\
#compdef bridge
# Completion of bridge in zsh. Made by `bridge completion zsh`.
_bridge() {
    local place=bridge flag= word
    local -a commands flags
    for word in "${(@)words[2,CURRENT-1]}"; do
        if [[ -n $flag ]]; then
            flag=
            continue
        fi
        case "$place $word" in
            (@COMMANDS@) place+=" $word" ;;
            (@VALUED@) flag=$word ;;
        esac
    done
    if [[ -z $flag && ${words[CURRENT]} == --*=* ]]; then
        flag=${words[CURRENT]%%=*}
        compset -P '*='
    fi
    if [[ -n $flag ]]; then
        case "$place $flag" in
            (@FILES@) _files ;;
@CHOICES@
        esac
        return
    fi
    case $place in
@OFFERS@
    esac
    _describe -t commands command commands
    _describe -t flags -o flag flags
}
# In a folder of fpath zsh runs this file as the function; sourced, it says what the function is for.
if [[ $funcstack[1] == _bridge ]]; then
    _bridge "$@"
else
    compdef _bridge bridge
fi
"""

FISH = """\
# Completion of bridge in fish. Made by `bridge completion fish`.
function __bridge_at
    set -l place bridge
    set -l flag ''
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        if test -n "$flag"
            set flag ''
            continue
        end
        switch "$place $word"
            case @COMMANDS@
                set place "$place $word"
            case @VALUED@
                set flag $word
        end
    end
    test "$place" = "$argv[1]"
end
complete -c bridge -f
@OFFERS@
"""


def bash(places: Sequence[Place]) -> str:
    """Return the script for bash."""
    offers = (
        f"        {shlex.quote(place.name)}) {_bash_words((*place.commands, *_names(place)))} ;;" for place in places
    )
    choices = (
        f"            {shlex.quote(f'{place.name} {name}')}) {_bash_words(flag.choices)} ;;"
        for place, flag, name in flag_words(places)
        if flag.choices
    )
    return _filled(BASH, places, " | ", offers, choices)


def zsh(places: Sequence[Place]) -> str:
    """Return the script for zsh."""
    choices = (
        f"            ({shlex.quote(f'{place.name} {name}')}) compadd -- {shlex.join(flag.choices)} ;;"
        for place, flag, name in flag_words(places)
        if flag.choices
    )
    return _filled(ZSH, places, " | ", map(_zsh_offer, places), choices)


def fish(places: Sequence[Place]) -> str:
    """Return the script for fish."""
    offers = (line for place in places for line in _fish_offers(place))
    return _filled(FISH, places, " ", offers)


SHELLS: Mapping[str, Callable[[Sequence[Place]], str]] = MappingProxyType({"bash": bash, "zsh": zsh, "fish": fish})
"""Shell -> its script for these places."""


def _filled(
    script: str, places: Sequence[Place], separator: str, offers: Iterable[str], choices: Iterable[str] = ()
) -> str:
    """Return a script with what the three have in common, and these lines."""
    valued = [(f"{place.name} {name}", flag) for place, flag, name in flag_words(places) if flag.takes_value]
    patterns = {
        "COMMANDS": [place.name for place in places[1:]],
        "VALUED": [name for name, _ in valued],
        "FILES": [name for name, flag in valued if flag.takes_file],
    }
    parts = {
        # Without any, a pattern that nothing matches.
        **{name: separator.join(map(shlex.quote, texts or [""])) for name, texts in patterns.items()},
        "CHOICES": "\n".join(choices),
        "OFFERS": "\n".join(offers),
    }
    for name, text in parts.items():
        script = script.replace(f"@{name}@", text)
    return "\n".join(line for line in script.splitlines() if line.strip()) + "\n"


def _names(place: Place) -> list[str]:
    return [name for flag in place.flags for name in flag.names]


def _bash_words(words: Sequence[str]) -> str:
    return f'mapfile -t COMPREPLY < <(compgen -W {shlex.quote(" ".join(words))} -- "$current")'


def _zsh_offer(place: Place) -> str:
    commands = shlex.join(f"{name}:{summary}" if summary else name for name, summary in place.commands.items())
    flags = shlex.join(f"{name}:{flag.summary}" for flag in place.flags for name in flag.names)
    return f"        ({shlex.quote(place.name)}) commands=({commands}); flags=({flags}) ;;"


def _fish_offers(place: Place) -> Iterator[str]:
    at = f"complete -c bridge -n {_fish_quoted(f'__bridge_at {_fish_quoted(place.name)}')}"
    for name, summary in place.commands.items():
        yield f"{at} -a {_fish_quoted(name)} -d {_fish_quoted(summary)}"
    for flag in place.flags:
        yield f"{at} {_fish_flag(flag)} -d {_fish_quoted(flag.summary)}"


def _fish_flag(flag: Flag) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names)
    if flag.takes_file:
        return f"{names} -r -F"
    if flag.choices:
        return f"{names} -x -a {_fish_quoted(' '.join(flag.choices))}"
    return f"{names} -x" if flag.takes_value else names


def _fish_quoted(text: str) -> str:
    # In fish's single quotes a backslash escapes itself and the quote, and nothing else.
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
