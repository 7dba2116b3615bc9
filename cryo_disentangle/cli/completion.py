"""``cryo-disentangle completion``: what a shell completes commands and options by."""

from __future__ import annotations

from collections.abc import Sequence

from cryo_disentangle.cli.command import command_names
from cryo_disentangle.options.commands import completion_parser
from cryo_disentangle.options.shipped import shipped_names

__all__ = ["completion_command"]

# Options are those of the command's own help, asked for once in a shell.
_SCRIPT = """\
declare -A _cryo_disentangle_options
_cryo_disentangle() {
  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"
  local name="${COMP_WORDS[1]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "@COMMANDS@" -- "$word"))
  elif [ "$before" = --config ] || [ "$before" = -c ]; then
    COMPREPLY=($(compgen -f -- "$word") $(compgen -W "@CONFIGS@" -- "$word"))
  elif [[ "$word" == -* ]]; then
    if [ -z "${_cryo_disentangle_options[$name]}" ]; then
      _cryo_disentangle_options[$name]=$(cryo-disentangle "$name" --help 2>/dev/null |
        grep -oE -- '(^|[ ,[])--[A-Za-z_][A-Za-z0-9_.-]*' | grep -oE -- '--.*' | sort -u)
    fi
    COMPREPLY=($(compgen -W "${_cryo_disentangle_options[$name]}" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _cryo_disentangle cryo-disentangle
"""


def completion_command(args: Sequence[str] | None = None) -> None:
    """Prints the script.

    Args:
        args: Words after the command's name; None takes the process's own.
    """
    completion_parser().parse_args(args)
    script = _SCRIPT.replace("@COMMANDS@", " ".join(command_names()))
    print(script.replace("@CONFIGS@", " ".join(shipped_names())), end="")
