"""Whatever a request does, it locks one partition of payment_tokens, however often its statements were executed.

PostgreSQL 14 to 18 lock every partition of a plan that covers them all, at every execution.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection

from payment_token.domain.audit import DecryptEvent
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.pool import new_pool
from tests.support.key_deployment import key_deployment
from tests.support.maintained import maintained_database
from tests.support.tokens import new_token
