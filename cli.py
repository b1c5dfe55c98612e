"""The command line without installation: `python cli.py --help`."""

from unlearning.cli import main

if __name__ == "__main__":
    main()
