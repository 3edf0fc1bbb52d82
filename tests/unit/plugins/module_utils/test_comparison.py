# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.llm.orchestrator.plugins.module_utils._comparison import (
    canonical_json,
    differences,
    masked,
)


def test_equal_records_have_no_differences() -> None:
    record = {"env": {"A": "1"}, "command": ["a"]}
    assert differences(record, dict(record)) == ({}, {})


def test_only_the_nested_fields_that_differ_are_shown() -> None:
    before = {"env": {"A": "1", "B": "2", "OLD": "x"}, "image": "a:1"}
    after = {"env": {"A": "1", "B": "3", "NEW": "y"}, "image": "a:1"}
    assert differences(before, after) == ({"env": {"B": "2", "OLD": "x"}}, {"env": {"B": "3", "NEW": "y"}})


def test_a_field_that_comes_or_goes_is_shown_on_its_side_only() -> None:
    assert differences({"user": "1"}, {"gpus": "all"}) == ({"user": "1"}, {"gpus": "all"})


def test_a_list_is_compared_as_a_whole_and_in_order() -> None:
    assert differences({"command": ["a", "b"]}, {"command": ["b", "a"]}) == (
        {"command": ["a", "b"]},
        {"command": ["b", "a"]},
    )


def test_a_change_between_a_mapping_and_a_value_is_a_difference() -> None:
    assert differences({"a": {"b": 1}}, {"a": 1}) == ({"a": {"b": 1}}, {"a": 1})


def test_canonical_json_is_the_same_for_the_same_record() -> None:
    assert canonical_json({"b": 1, "a": {"d": "ü", "c": 2}}) == '{"a":{"c":2,"d":"\\u00fc"},"b":1}'
    assert canonical_json({"b": 1, "a": 2}) == canonical_json({"a": 2, "b": 1})


def test_masked_shows_a_start_of_each_digest_and_changes_nothing_else() -> None:
    record = {"image": "a", "secrets": {"pw": "0123456789abcdef"}}
    assert masked(record) == {"image": "a", "secrets": {"pw": "(hidden, fingerprint 01234567)"}}
    assert record["secrets"] == {"pw": "0123456789abcdef"}


def test_masked_hides_the_secrets_of_a_replica_that_differs_too() -> None:
    record = {"demo.2": {"secrets": {"pw": "0123456789abcdef"}}, "env": {"secrets": "of another kind"}}
    assert masked(record) == {
        "demo.2": {"secrets": {"pw": "(hidden, fingerprint 01234567)"}},
        "env": {"secrets": "of another kind"},
    }
