"""Commands: what they print, what they refuse, and with which exit code."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest_types import Workshop
