"""The page of a sweep's timeline: gangs against time, and what became of every second."""

from starlette.routing import Route

ROUTES: list[Route] = []
