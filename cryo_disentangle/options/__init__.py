"""What commands are given: words and YAML read strictly, errors said in one sentence."""
