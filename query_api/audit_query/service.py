"""Everything the API and the page ask for, made from the settings once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import Self

from audit_infra.access import Access
from audit_query.admin import Admin
from audit_query.asking import Asking
from audit_query.copies import Copies
from audit_query.counting import Counting
from audit_query.events import Events
from audit_query.exports.download import Download
from audit_query.exports.files import Files
from audit_query.exports.keys import Keys
from audit_query.exports.recording import Recorder
from audit_query.exports.service import Exports
from audit_query.exports.starting import versions
from audit_query.exports.store import ExportStore
from audit_query.exports.streams import KeptStreams
from audit_query.facets import Facets
from audit_query.following import Following, Pace
from audit_query.freshness import Freshness
from audit_query.gaps import Gaps
from audit_query.histogram import Histogram
from audit_query.ledger import Ledger
from audit_query.plans import Plans
from audit_query.ports import Clock, Reading
from audit_query.self_audit import SelfAudit
from audit_query.settings import QuerySettings
from audit_schemas.catalogue import Catalogue, load


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of reading. Safe for many requests at once."""

    catalogue: Catalogue
    plans: Plans
    asking: Asking
    freshness: Freshness
    events: Events
    counting: Counting
    facets: Facets
    histogram: Histogram
    download: Download
    exports: Exports
    gaps: Gaps
    admin: Admin
    self_audit: SelfAudit
    following: Following

    @classmethod
    def of(
        cls,
        settings: QuerySettings,
        reader: Reading,
        access: Access,
        clock: Clock,
        self_audit: SelfAudit,
        recorder: Recorder | None = None,
    ) -> Self:
        """The service over these tables and these workspaces; `recorder` is told of streamed exports, the control database
        when there is none."""
        catalogue = load()
        plans = Plans(access, settings.upgrade_url, clock)
        asking = Asking(plans, clock)
        freshness = Freshness(
            reader,
            settings.topic_prefix,
            clock,
            cache_s=settings.freshness_cache_s,
            lag_window_s=settings.lag_window_s,
        )
        copies = Copies(
            reader,
            clock,
            inline_rows=settings.copies_inline_rows,
            most=settings.copies_most,
            workspaces=settings.copies_workspaces,
        )
        newest = settings.facet_newest_rows
        counting = Counting(reader, copies, settings.facet_budget, newest)
        store = ExportStore(access.engine)
        return cls(
            catalogue=catalogue,
            plans=plans,
            asking=asking,
            freshness=freshness,
            events=Events(
                reader=reader,
                plans=plans,
                asking=asking,
                freshness=freshness,
                counting=counting,
                catalogue=catalogue,
                signing_keys=settings.keys(settings.signing_keys),
                late_after_s=settings.late_after_s,
                clock=clock,
            ),
            counting=counting,
            facets=Facets(
                asking=asking,
                counting=counting,
                # No sums are kept of targets: there are as many as events.
                target_counting=Counting(reader, copies, replace(settings.facet_budget, rows=newest), newest),
                reader=reader,
                freshness=freshness,
                catalogue=catalogue,
            ),
            histogram=Histogram(asking=asking, counting=counting, reader=reader, freshness=freshness, clock=clock),
            download=Download(
                reader=reader,
                asking=asking,
                freshness=freshness,
                catalogue=catalogue,
                clock=clock,
                self_audit=self_audit,
                recorder=recorder or KeptStreams(store, access, partial(versions, reader)),
                late_after_s=settings.late_after_s,
            ),
            exports=Exports(
                store,
                Keys(access.engine),
                Files(settings.exports_dir),
                asking,
                plans,
                self_audit,
                clock,
                queued=settings.export_queued,
                late_after_s=settings.late_after_s,
            ),
            gaps=Gaps(reader, settings.gap_after_s, clock),
            admin=Admin(access, clock, self_audit.changed),
            self_audit=self_audit,
            following=Following(
                reader=reader,
                asking=asking,
                ledger=Ledger(reader, freshness, settings.topic_prefix, settings.stream_poll_s, monotonic),
                catalogue=catalogue,
                signing_keys=settings.keys(settings.signing_keys),
                pace=Pace(settings.stream_poll_s, settings.stream_heartbeat_s, settings.stream_check_s),
                most=settings.streams_per_workspace,
                late_after_s=settings.late_after_s,
                clock=clock,
                monotonic=monotonic,
            ),
        )


__all__ = ["Service"]
