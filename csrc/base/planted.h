/* Planted bugs: one wrong line each, behind a switch, to prove that the property test finds
 * what it is there to find (spec/property/planted.lua lists them).
 *
 * A normal build has none: PLANTED(n) is 0 and the compiler drops the branch. A build with
 * -DSLUICE_PLANTED has all of them, and testing.plant(n) chooses the one that is active. */
#ifndef SLUICE_BASE_PLANTED_H
#define SLUICE_BASE_PLANTED_H

#ifdef SLUICE_PLANTED
extern int planted_bug;
#define PLANTED(n) (planted_bug == (n))
#else
#define PLANTED(n) 0
#endif

#endif
