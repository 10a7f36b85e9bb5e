"""What a robot's settings say of its fleet: its own name, the server, and how to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fl_robot_ros.config import (
    ClientSettings,
    existing_file,
    expand_path,
    is_loopback,
    resolve_server_address,
)
from fl_robot_ros.errors import IdentityError, SettingError
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.identity.private_file import describe_readers


@dataclass(frozen=True)
class Membership:
    """A robot's place in a fleet.

    Attributes:
        robot: The robot's name; "" where neither the settings nor an enrolment have one.
        server_address: host:port of the server.
        warnings: What a person should know, one line each.
    """

    robot: str
    server_address: str
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_settings(cls, settings: ClientSettings, environment: Mapping[str, str]) -> Membership:
        """Read and check the files that the settings name.

        Args:
            settings: The settings of `fl_client`.
            environment: Environment variables.

        Raises:
            SettingError: A file cannot be used, the enrolment is another robot's, or the server is
                on the network and there is neither TLS nor `insecure`.
        """
        enrolment, warnings = None, []
        if settings.enrolment:
            path = expand_path(settings.enrolment)
            try:
                enrolment = Enrolment.load(path)
            except IdentityError as error:
                raise SettingError(str(error)) from error
            warnings.append(describe_readers(path))
            if settings.robot_name not in ("", enrolment.robot):
                raise SettingError(
                    f"robot_name is {settings.robot_name!r}, and enrolment {path} is that of "
                    f"{enrolment.robot!r}; take this robot's own enrolment, or leave robot_name "
                    "empty"
                )
        if settings.root_certificates:
            existing_file("root_certificates", settings.root_certificates)
        address = resolve_server_address(
            settings.server_address, environment, enrolment.server_address if enrolment else ""
        )
        host = address.rpartition(":")[0]
        if enrolment is None and not settings.root_certificates and not is_loopback(host):
            if not settings.insecure:
                raise SettingError(
                    f"server_address is {address!r}, a server on the network, and there is no "
                    "TLS: set enrolment to the file of 'fl_keys robot NAME', or insecure: true "
                    "where everybody on the network may read, and give this robot a model"
                )
            warnings.append(
                f"insecure: whoever is on the network to {address} can read and change what is "
                "sent, and give this robot a model"
            )
        return cls(
            robot=enrolment.robot if enrolment else settings.robot_name,
            server_address=address,
            warnings=tuple(filter(None, warnings)),
        )
