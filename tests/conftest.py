"""Log lines of the code under test are kept short: hypothesis runs it a million times. None of these times has a
deadline: how busy the machine is says nothing about the code.

A shell starts what it puts in the background deaf to Ctrl-C, and each program that a test starts would inherit that.
"""

import logging
import signal

import pytest
import structlog
from hypothesis import settings
from xdist.remote import Producer

from tests.support.distribution import ByGroup

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
settings.register_profile("parsec", deadline=None)
settings.load_profile("parsec")
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroup:
    return ByGroup(config, log)
