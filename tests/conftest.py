"""Log lines of the code under test are kept short: hypothesis runs it a million times. None of these times has a
deadline: how busy the machine is says nothing about the code.

A shell starts what it puts in the background deaf to Ctrl-C, and each program that a test starts would inherit that.
"""

import logging
import signal

import structlog
from hypothesis import settings

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
settings.register_profile("parsec", deadline=None)
settings.load_profile("parsec")
signal.signal(signal.SIGINT, signal.default_int_handler)
