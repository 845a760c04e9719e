/* Planted bugs: one wrong line each, behind a switch, to prove that the random tests find what
 * they are there to find: 1 to 99 in fan, for the property test (spec/property/planted.lua),
 * from 101 on in net and serve, for the drawn requests (spec/wire/front/planted.lua), from
 * 201 on in store, for its drawn runs (spec/store/planted.lua), from 301 on in feeds (fan/feed.h), for
 * theirs (spec/kit/durable_stream_random_spec.lua), from 401 on in queued writes, for the story of
 * spec/unit/sock_spec.lua, from 501 on in limits, for theirs (spec/kit/limits_random_spec.lua),
 * from 600 on in a node of a cluster, for its worlds (spec/cluster/planted.lua; from 670 on in local channels, from 680 on in pages), from 701 on in streams over
 * HTTP/2, for their windows (spec/wire/h2_windows_spec.lua), from 801 on in hang-ups (spec/e2e/gone_spec.lua).
 *
 * A normal build has none: PLANTED(n) is 0 and the compiler drops the branch. A build with
 * -DSLUICE_PLANTED has all of them, and testing.plant(n) or $SLUICE_PLANT chooses the one that
 * is active. */
#ifndef SLUICE_BASE_PLANTED_H
#define SLUICE_BASE_PLANTED_H

#ifdef SLUICE_PLANTED
extern int planted_bug;
#define PLANTED(n) (planted_bug == (n))
#else
#define PLANTED(n) 0
#endif

#endif
