# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The option that modules with visible progress share."""

    DOCUMENTATION = r"""
options:
  progress_file:
    description:
      - File on the target into which the module writes one line about where it is.
      - The module's action plugin sets it and shows that line while the module runs; leave it out.
    type: path
"""
