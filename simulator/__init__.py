"""A local WhatsApp: a server that real clients link to, and simulated phones that a test, a person or a script drives."""

from __future__ import annotations

from simulator.errors import PhoneError, SimulatorError
from simulator.handset import Handset
from simulator.server import Ports
from simulator.simulation import Simulator

__all__ = ["Handset", "PhoneError", "Ports", "Simulator", "SimulatorError"]
