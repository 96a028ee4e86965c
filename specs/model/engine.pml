/*
 * One upgrade, driven by an engine that may die at any step.
 *
 * Owns the journal's commit, the processes around one engine, and a crash. What the engine
 * decides and does is `decide.pml`; the plan that it upgrades is in `table.pml`.
 *
 * The journal is a fold: w_* is what the engine has written (and remembers),
 * d_* what a power cut leaves. A commit is written in one step and durable in
 * the next; between the two a crash keeps it or not.
 */

#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef ABORTS
#define ABORTS 1
#endif
#ifndef DEADLINES
#define DEADLINES 0
#endif
#ifndef FAILURES
#define FAILURES 1
#endif
#ifndef STRANGERS
#define STRANGERS 1
#endif
#ifndef RELEASES
#define RELEASES 1
#endif
#ifndef RESUMES
#define RESUMES 0
#endif

#include "decide.pml"

/* the journal: written, and durable */
byte w_state = PENDING, d_state = PENDING;
bit w_undoing, d_undoing;
byte w_hold, d_hold;
int w_begun, w_done, w_failed, w_undo_begun, w_undone;
int d_begun, d_done, d_failed, d_undo_begun, d_undone;
bit committing;

/* what callers were told */
bit told_undoing, told_committed, told_rolled_back;
int told_done;

/* the engine's memory, lost in a crash */
byte action = WAIT, step, outcome, where;
bit resuming;

/* the world */
bit up = 1, engine_down, caller_down, back_on_crash;
byte crashes, aborts, deadlines, failures, strangers, releases, resumes;
bit stranger[2];

/* what the search met, over all of it: printed or written by the checker's own code */
c_decl {
	extern long kills_tried, cuts_tried;
	extern void tried(long *);
	extern void journal_moved(const int *);
}
c_code {
	\#include "counting.h"
}

/* ---- the journal -------------------------------------------------------- */

inline moved() {
	c_code {
		const int fields[16] = {
			now.d_state, now.d_undoing, now.d_hold, now.d_begun,
			now.d_done, now.d_failed, now.d_undo_begun, now.d_undone,
			now.w_state, now.w_undoing, now.w_hold, now.w_begun,
			now.w_done, now.w_failed, now.w_undo_begun, now.w_undone
		};
		journal_moved(fields);
	}
}

inline flush() {
	d_step {
		committing = 0;
		moved();
		make_durable();
		tell()
	}
}

/* the first half of a commit; under a fault callers hear of it here already */
inline written() {
	committing = 1;
#ifdef ACKNOWLEDGE_BEFORE_COMMIT
	tell()
#else
	skip
#endif
}

/* ---- the processes ------------------------------------------------------ */

#define CLEAN_UP_FAILED (TERMINAL(w_state) && (w_failed & STEPS_OF(w_state) & CLEAN_UP))

inline drive() {
	d_step {
		!committing ->
		if
		:: resuming -> note_resumed()
		:: else -> resuming = 1
		fi;
		advance();
		written()
	};
	flush();
	do
	:: action != WAIT && action != HELD ->
		perform();
		d_step { !committing -> note_result(); advance(); written() };
#ifdef FLIP_BEFORE_INTENT
		if
		:: action == DO && IS(STEP_SWAP) -> perform()
		:: else
		fi;
#endif
		flush()
	:: action == WAIT && !TERMINAL(w_state) -> false /* see PROBE_NEVER_COMES */
	:: d_step { action == WAIT && TERMINAL(w_state) -> step = 0; where = 0 };
		/* it has ended; what of the clean-up failed, a resume tries again */
end_finished:	d_step { resumes < RESUMES && CLEAN_UP_FAILED && !committing ->
			resumes++;
			note_resumed();
			advance();
			written()
		};
		flush()
	:: action == HELD ->
end_held:	d_step { !w_hold && !committing -> advance(); written() };
		flush()
	od
}

active proctype engine() {
	if
	:: back_on_crash = 0
	:: back_on_crash = 1
	fi;
	do
	:: { drive() } unless { !up };
		d_step { action = WAIT; step = 0; outcome = 0; where = 0; resuming = 1; engine_down = 1 };
		d_step { up -> engine_down = 0 }
	od
}

#define CAN_TURN (!TERMINAL(w_state) && !w_undoing)

/* whoever speaks to the engine: a person who aborts or ends a hold, and its own deadlines */
active proctype caller() {
end_not_begun:	do
	:: {
end_idle:	do
#ifdef ABORT_ON_AN_OLD_LOOK
		:: aborts < ABORTS && !committing && CAN_TURN ->
			d_step { !committing -> aborts++; turn_back(); written() };
#else
		:: d_step { aborts < ABORTS && !committing && CAN_TURN ->
			aborts++;
			turn_back();
			written()
		   };
#endif
			flush()
		/* the deadline of a way forward; of one that goes back already or is held it says nothing */
#ifdef DEADLINE_ON_AN_OLD_LOOK
		:: deadlines < DEADLINES && !committing && CAN_TURN && !w_hold ->
			d_step { !committing -> deadlines++; turn_back(); written() };
#else
		:: d_step { deadlines < DEADLINES && !committing && CAN_TURN && !w_hold ->
			deadlines++;
			turn_back();
			written()
		   };
#endif
			flush()
		/* the deadline of a way back */
#ifdef DEADLINE_ENDS_A_WAY_BACK
		:: d_step { deadlines < DEADLINES && !committing && !TERMINAL(w_state) && w_undoing && !w_hold ->
			deadlines++;
			w_state = ROLLED_BACK;
			written()
		   };
#else
		:: d_step { deadlines < DEADLINES && !committing && !TERMINAL(w_state) && w_undoing && !w_hold ->
			deadlines++;
			w_hold = OVERDUE;
			written()
		   };
#endif
			flush()
#ifdef END_IS_LEFT
		:: d_step { aborts < ABORTS && !committing && w_state == COMMITTED ->
			aborts++;
			w_state = VERIFIED;
			turn_back();
			written()
		   };
			flush()
#endif
		:: d_step { releases < RELEASES && !committing && w_hold ->
			releases++;
			reopen();
			w_hold = 0;
			written()
		   };
			flush()
		:: d_step { releases < RELEASES && !committing && w_hold && !w_undoing ->
			releases++;
			reopen();
			turn_back();
			written()
		   };
			flush()
		od
	   } unless { !up };
		d_step { caller_down = 1 };
		d_step { up -> caller_down = 0 }
	od
}

inline crash() {
	crashes++;
	up = 0;
	if
	:: committing -> committing = 0; moved(); make_durable()
	:: committing -> committing = 0; forget_written()
	:: !committing
	fi
}

/* both know of the last one: a process that has not begun again cannot die again */
#define CAN_CRASH (up && !engine_down && !caller_down && crashes < CRASHES)

active proctype world() {
end_quiet:
	do
	:: atomic { CAN_CRASH ->
		c_code { tried(&kills_tried); };
		crash()
	   }
	:: atomic { CAN_CRASH ->
		c_code { tried(&cuts_tried); };
		crash();
		lose(0);
		lose(1)
	   }
	:: d_step { !up && engine_down && caller_down -> up = 1 }
	:: d_step { strangers < STRANGERS && !TERMINAL(d_state) && up ->
		strangers++;
		replace_target(0)
	   }
	:: d_step { strangers < STRANGERS && !TERMINAL(d_state) && up && OF_1 ->
		strangers++;
		replace_target(1)
	   }
	/* while an upgrade stands still somebody starts what it had stopped */
	:: d_step { STEP_QUIESCE && action == HELD && w_hold && !committing && !writes[0] -> writes[0] = 1 }
	od
}

/* ---- properties --------------------------------------------------------- */

#define REST (up && !committing && (d_hold || FINISHED))
#define NO_STRANGER (!stranger[0] && !stranger[1])
#include "promises.pml"

#define SAME_SIDE IMPLIES(REST && !d_hold && NO_STRANGER && OF_1, target[0] == target[1])
ltl same_side { [] SAME_SIDE }

#define IN_ORDER (!OF_1 || !NO_STRANGER || target[1] != NEW || target[0] == NEW)
ltl in_order { [] IN_ORDER }

#define RUNS(one) IMPLIES(d_begun & (STEP_AFTER_SWAP | STEP_UNQUIESCE) & OF_##one, runs[one] == target[one])
#define RUNS_WHAT_IS_THERE \
	IMPLIES(REST && !d_hold && !d_failed && NO_STRANGER, RUNS(0) && RUNS(1))
ltl runs_what_is_there { [] RUNS_WHAT_IS_THERE }

/* who writes a target stands still while it is exchanged, and runs again afterwards */
#define STOPPED (!written_over[0] && !written_over[1])
ltl stopped { [] STOPPED }

#define STARTED_AGAIN IMPLIES(REST && !d_hold, writes[0] && writes[1])
ltl started_again { [] STARTED_AGAIN }

/* what a hook prepares before an exchange stays until the old is back */
#define PREPARED_BEFORE (!STEP_BEFORE_SWAP || !NO_STRANGER || target[0] != NEW || prepared[0])
ltl prepared_before { [] PREPARED_BEFORE }

/* what of a clean-up failed, a resume does again */
#define CLEANED_AGAIN \
	IMPLIES(REST && !d_hold && resumes && !crashes && NO_STRANGER, !(d_failed & STEPS_OF(d_state) & CLEAN_UP) && beside[0] == NOTHING)
ltl cleaned_again { [] CLEANED_AGAIN }

#define HOLDS_FOR_A_REASON IMPLIES(d_hold, !NO_STRANGER || failures || deadlines)
ltl holds_for_a_reason { [] HOLDS_FOR_A_REASON }

/* over time */
ltl final { [] (IMPLIES(d_state == COMMITTED, [] (d_state == COMMITTED)) && IMPLIES(d_state == ROLLED_BACK, [] (d_state == ROLLED_BACK))) }
ltl ends { <> [] REST }

/* all that hold in each state, as one claim: written by check.py */
#include "each_state.pml"

/* what a run must be able to reach: each of these has to fail */
ltl never_crashes_twice { [] (crashes < 2) }
ltl never_commits_after_a_crash { [] !(crashes && d_state == COMMITTED) }
ltl never_goes_back_after_both_flips { [] !(d_state == ROLLED_BACK && (d_done & STEP_SWAP & OF_0) && (d_done & STEP_SWAP & OF_1)) }
ltl never_goes_back_after_the_flip { [] !(d_state == ROLLED_BACK && (d_done & STEP_SWAP & OF_0)) }
ltl never_goes_back_on_crash { [] !(crashes && !aborts && !failures && !strangers && d_state == ROLLED_BACK) }
ltl never_holds { [] !d_hold }
ltl never_half { [] !(target[0] == NEW && target[1] == OLD && !up) }
ltl never_stops_anew { [] !(crashes && !failures && action == DO && (STEP_QUIESCE & BIT(step)) && (d_done & STEP_STAGE) && (d_failed & STEP_SWAP)) }
ltl never_is_late_both_ways { [] !(d_hold == OVERDUE) }
ltl never_commits_though_aborted { [] !(aborts && d_state == COMMITTED) }
ltl never_cleans_again { [] !(resumes && FINISHED) }
