"""``python -m cryo_disentangle``, the same as ``cryo-disentangle``."""

from cryo_disentangle.cli import main

if __name__ == "__main__":
    main()
