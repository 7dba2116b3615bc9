"""What commands are given: words and YAML read strictly, errors said in one sentence."""

from cryo_disentangle.options.parsers import CommandParser
from cryo_disentangle.options.parts import part, shortcoming
from cryo_disentangle.options.sentences import one_sentence, reason
from cryo_disentangle.options.yaml_files import check_configurations, parse_yaml, read_mapping

__all__ = [
    "CommandParser",
    "check_configurations",
    "one_sentence",
    "parse_yaml",
    "part",
    "read_mapping",
    "reason",
    "shortcoming",
]
