"""What all services share: settings, logs, health, drain, metrics, errors.

A service calls :func:`service_kit.app.create_app` with its routers and hands the result to
:func:`service_kit.server.run`; everything else here is reached through those two.
"""
