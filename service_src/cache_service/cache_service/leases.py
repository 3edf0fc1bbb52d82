"""Who computes an entry: a lease on its key, which one owner holds for a time.

A lease is a Redis key beside the entry's. What is decided by its owner is a script, so that nothing comes between the
look and the deed.
"""

from __future__ import annotations

from enum import Enum

# No key of an entry has this character, so none can look like a lease.
LEASE_SUFFIX = "#lease"
LEASE_END = LEASE_SUFFIX.encode()

# KEYS: the entry, its lease. ARGV: the owner, the milliseconds.
# An entry that is there needs nobody to compute it: who looked before it came would compute it again.
ACQUIRE = """
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 'held' end
if redis.call('STRLEN', KEYS[1]) > 0 then return 'stored' end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 'granted'
"""

# KEYS: the lease. ARGV: the owner.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
return 'ok'
"""


class LeaseState(Enum):
    """What came of asking for a lease."""

    GRANTED = "granted"
    HELD = "held"
    STORED = "stored"
