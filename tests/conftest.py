"""Log lines of the code under test are kept short: hypothesis runs it a million times."""

import logging

import structlog

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
