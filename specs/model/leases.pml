/*
 * One upgrade of one component, and two workers of which each may take the other for dead.
 *
 * Owns who may write the journal and who may act: the home's lock, the fence, the target's
 * lock, and what a worker's command does after its worker is gone. What a worker decides
 * and does is `decide.pml`, with w_* of its own; the journal (d_*) is one.
 *
 * The lease is lost in the worst way: the home's lock is simply in another's hands (its
 * file was removed, the machine slept), and nobody tells the loser. The target's lock is
 * the kernel's: it ends with the last process that holds it, and never before.
 */

#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef LOSSES
#define LOSSES 2
#endif
#ifndef MISHAPS
#define MISHAPS 1
#endif
/* an abort, a step that fails, a stranger: so many of them together */
#define ABORTS (MISHAPS - failures - strangers)
#define FAILURES (MISHAPS - aborts - strangers)
#define STRANGERS (MISHAPS - aborts - failures)

#include "decide.pml"

#define NOBODY 0
#define ME (_pid + 1)
#define OTHER (1 - _pid)

/* the journal: durable; who is in a transaction */
byte d_state = PENDING;
bit d_undoing;
byte d_hold;
int d_begun, d_done, d_failed, d_undo_begun, d_undone;
byte writing = NOBODY;

/* Of the fence's number only this matters: whether the one that a worker has is the newest;
 * and of what a worker has read, whether anything was written since. */
bit newest[2], fresh[2];
bit opened;

/* what callers were told */
bit told_undoing, told_committed, told_rolled_back;
int told_done;

/* the locks, and a command whose worker is gone */
byte home = NOBODY, target_lock = NOBODY;
bit child[2], acting[2];
bit orphan;

/* the world */
bit dead[2], back_on_crash;
byte crashes, losses, aborts, failures, strangers;
bit stranger[2];

/* what never may be: a commit of who has lost the fence */
bit written_by_loser;

c_decl {
	extern long kills_tried, cuts_tried;
	extern void tried(long *);
}
c_code {
	\#include "counting.h"
}

/* ---- a worker ----------------------------------------------------------- */

#define TO_DO (!d_hold && !FINISHED)

/* One transaction: the write lock, the look at the fence, the rows, durable. A worker whose
 * number is not the newest is `lost`, and leaves with nothing written. */
inline begin_transaction() {
#ifndef COMMIT_AFTER_LEASE_LOSS
#ifdef FENCE_IGNORED
	lost = 0;
#else
	lost = !newest[_pid];
#endif
#endif
	if
	:: !lost -> writing = ME
	:: else
	fi
}

inline end_transaction() {
	if
	:: lost
	:: !lost ->
		d_step {
			writing = NOBODY;
			written_by_loser = written_by_loser | !newest[_pid];
			fresh[OTHER] = 0;
			make_durable();
			tell()
		}
	fi
}

/* under this fault the fence is looked at before the transaction, and not in it */
inline look_at_fence() {
#ifdef COMMIT_AFTER_LEASE_LOSS
	d_step { lost = !newest[_pid] }
#else
	skip
#endif
}

/* The home is free, or its holder is believed to be dead; then the journal is read. The
 * workers are alike: the first to come is the first. */
#define CAN_TAKE (home == NOBODY || (home != ME && losses < LOSSES))
inline take_home() {
	d_step { TO_DO && CAN_TAKE && (_pid == 0 || opened) ->
		if
		:: home == NOBODY
		:: home != NOBODY -> losses++
		fi;
		home = ME;
		opened = 1;
		forget_written();
		fresh[_pid] = 1
	}
}

/* raise the fence over just what was read, in one transaction */
inline raise_fence() {
	d_step { writing == NOBODY ->
#ifdef FENCE_RAISED_UNSEEN
		lost = 0;
#else
		lost = !fresh[_pid];
#endif
		fresh[_pid] = 0;
		if
		:: !lost ->
			newest[_pid] = 1;
#ifndef FENCE_NOT_RAISED
			newest[OTHER] = 0;
			fresh[OTHER] = 0
#endif
		:: else
		fi
	}
}

/* D7: what an earlier process has started is ended before a target is locked */
inline lock_target() {
	if
#ifdef TARGET_NOT_LOCKED
	:: true
#else
#ifdef ORPHANS_ACT_ON
	:: d_step { target_lock == NOBODY -> target_lock = ME }
#else
	:: d_step { (target_lock == NOBODY || orphan) -> orphan = 0; target_lock = ME }
#endif
	/* nothing was begun: refused, and taken back, with no target touched */
	:: d_step { target_lock != NOBODY && !w_begun && !w_undoing -> refused = 1 }
#endif
	fi
}

/* a command runs only once its process is in the journal */
inline run_command() {
	look_at_fence();
	d_step { writing == NOBODY -> begin_transaction() };
	end_transaction();
	if
	:: lost
	:: !lost ->
		d_step { child[_pid] = 1 };
		d_step { runs[0] = target[0]; outcome = DONE; child[_pid] = 0 }
	fi
}

#define IS_COMMAND (IS(STEP_AFTER_SWAP) && action != PROBE)

inline drive() {
	look_at_fence();
	d_step { writing == NOBODY ->
		if
		:: refused && !w_undoing -> turn_back()
		:: else -> note_resumed()
		fi;
		advance();
		begin_transaction()
	};
	end_transaction();
	do
	:: lost -> break
	:: !lost && (action == WAIT || action == HELD) -> break
	/* a person's word comes in between; it is on what this worker's records say */
	:: d_step { !lost && action != WAIT && action != HELD && writing == NOBODY &&
		    aborts < ABORTS && !TERMINAL(w_state) && !w_undoing ->
		aborts++;
		turn_back();
#ifdef COMMIT_AFTER_LEASE_LOSS
		lost = !newest[_pid];
#endif
		begin_transaction()
	   };
		end_transaction()
	:: !lost && action != WAIT && action != HELD ->
		if
		:: IS_COMMAND -> run_command()
		:: d_step { !IS_COMMAND -> acting[_pid] = 1 };
			perform();
			acting[_pid] = 0
		fi;
		if
		:: lost
		:: !lost ->
			look_at_fence();
			d_step { (lost || writing == NOBODY) ->
				note_result();
				advance();
				begin_transaction()
			};
			end_transaction()
		fi
	od
}

inline forget_all() {
	w_state = PENDING; w_undoing = 0; w_hold = 0;
	w_begun = 0; w_done = 0; w_failed = 0; w_undo_begun = 0; w_undone = 0;
	action = WAIT; step = 0; outcome = 0; where = 0;
	lost = 0; refused = 0; newest[_pid] = 0; fresh[_pid] = 0
}

inline leave() {
	if
	:: home == ME -> home = NOBODY
	:: else
	fi;
	if
	:: target_lock == ME -> target_lock = NOBODY
	:: else
	fi;
	forget_all()
}

active [2] proctype worker() {
	byte w_state, w_hold;
	bit w_undoing;
	int w_begun, w_done, w_failed, w_undo_begun, w_undone;
	byte action, step, outcome, where;
	bit lost, refused;
	do
	:: {
	   skip;
end_idle:  take_home();
		raise_fence();
		if
		:: lost
		:: !lost -> lock_target(); drive()
		fi;
		skip;
		d_step { leave() }
	   } unless { dead[_pid] };
		d_step { forget_all(); dead[_pid] = 0 }
	od
}

/* ---- the world ---------------------------------------------------------- */

/* locks end with their process; but a command that runs holds the target's on */
inline kill(one) {
	dead[one] = 1;
	if
	:: home == one + 1 -> home = NOBODY
	:: else
	fi;
	if
	:: child[one] -> orphan = 1; child[one] = 0
#ifdef ORPHANS_ACT_ON
		; target_lock = NOBODY
#endif
	:: !child[one] && target_lock == one + 1 && !orphan -> target_lock = NOBODY
	:: else
	fi;
	/* a transaction is there wholly or not at all: wholly is a kill one step later */
	if
	:: writing == one + 1 -> writing = NOBODY
	:: else
	fi;
	acting[one] = 0
}

#define LIVES(one) \
	(!dead[one] && (home == one + 1 || target_lock == one + 1 || acting[one] || writing == one + 1))

active proctype world() {
	if
	:: back_on_crash = 0
	:: back_on_crash = 1
	fi;
end_quiet:
	do
	:: d_step { crashes < CRASHES && LIVES(0) -> c_code { tried(&kills_tried); }; crashes++; kill(0) }
	:: d_step { crashes < CRASHES && LIVES(1) -> c_code { tried(&kills_tried); }; crashes++; kill(1) }
	:: atomic { crashes < CRASHES && (LIVES(0) || LIVES(1)) ->
		c_code { tried(&cuts_tried); };
		crashes++;
		child[0] = 0;
		child[1] = 0;
		kill(0);
		kill(1);
		orphan = 0;
		target_lock = NOBODY;
		lose(0)
	   }
	:: d_step { strangers < STRANGERS && !TERMINAL(d_state) -> strangers++; replace_target(0) }
	/* the orphan ends by itself */
	:: d_step { orphan -> runs[0] = target[0]; orphan = 0; target_lock = NOBODY }
	od
}

/* ---- properties --------------------------------------------------------- */

#define NO_STRANGER (!stranger[0])
#define IN_USE (home != NOBODY || target_lock != NOBODY || orphan || dead[0] || dead[1])
#define REST (!IN_USE && (d_hold || FINISHED))
#include "promises.pml"

/* promise 6 */
#define ONE_WRITES (!written_by_loser)
ltl one_writes { [] ONE_WRITES }

#define AT_IT(one) (acting[one] || child[one])
#define ONE_ACTS (!(AT_IT(0) && AT_IT(1)) && !(orphan && (AT_IT(0) || AT_IT(1))))
ltl one_acts { [] ONE_ACTS }

#define HOLDS_FOR_A_REASON IMPLIES(d_hold, !NO_STRANGER || failures)
ltl holds_for_a_reason { [] HOLDS_FOR_A_REASON }

/* over time */
ltl final { [] (IMPLIES(d_state == COMMITTED, [] (d_state == COMMITTED)) && IMPLIES(d_state == ROLLED_BACK, [] (d_state == ROLLED_BACK))) }
ltl ends { <> [] REST }

/* all that hold in each state, as one claim: written by check.py */
#include "each_state.pml"

/* what a run must be able to reach: each of these has to fail */
ltl never_loses_twice { [] (losses < 2) }
ltl never_loses_in_the_exchange { [] !(losses && acting[0] && home == 2 && target[0] == NEW && !(d_done & STEP_SWAP)) }
ltl never_commits_after_a_loss { [] !(losses && d_state == COMMITTED) }
ltl never_goes_back_after_a_loss { [] !(losses && aborts && d_state == ROLLED_BACK && (d_done & STEP_SWAP)) }
ltl never_orphaned { [] !orphan }
ltl never_refused { [] !(losses && !aborts && !failures && !strangers && !crashes && d_state == ROLLED_BACK) }
