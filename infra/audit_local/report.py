"""What the stack tells the person who started it: the links when it is ready, the table of `audit-log status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from audit_local.data_folder import StackState


def ready(state: StackState, folder: Path, seconds: float) -> str:
    """The block that ends the start."""
    names = max(len(workspace.id) for workspace in state.workspaces)
    links = "\n".join(f"    {one.id:<{names}}  {one.sign_in_url}" for one in state.workspaces)
    return f"""
  The audit log runs (ready after {seconds:.1f} s).

  Open a workspace, one per plan:
{links}

  Then choose Settings → Audit log: it fills as you watch. API keys: `audit-log status --json`.
  Ctrl-C stops everything; logs and data stay in {folder}.
"""


def status(state: StackState) -> str:
    """The stack as a small table."""
    if not state.processes:
        return "No stack has run here yet: start one with `audit-log up`."
    lines = ["ready" if state.ready else "not ready"]
    lines += [f"  {process.name:<12}{process.state:<12}{process.pid or ''}".rstrip() for process in state.processes]
    if any(process.pid for process in state.processes):
        lines += [f"  {name:<12}{address}" for name, address in state.addresses.items() if address]
        lines += [f"  {workspace.id:<20}{workspace.sign_in_url}" for workspace in state.workspaces]
    return "\n".join(lines)


__all__ = ["ready", "status"]
