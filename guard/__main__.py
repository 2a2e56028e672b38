"""`python -m guard` is `astguard`."""

from guard.cli import main

raise SystemExit(main())
