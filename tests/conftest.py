"""Log lines of the code under test are kept short: hypothesis runs it a million times. None of these times has a
deadline: how busy the machine is says nothing about the code.
"""

import logging

import structlog
from hypothesis import settings

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
settings.register_profile("parsec", deadline=None)
settings.load_profile("parsec")
