# SPDX-License-Identifier: Apache-2.0
"""Lets the tests import the helper modules beside them, whatever pytest's import mode is."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
