/*
 * What the engine decides, and what its steps do to a target: the part that all models share.
 *
 * Owns the model of `decide`, of the steps and of the disk under them. It is written as
 * inlines over names: w_* is what a process has written and remembers. In `engine.pml`
 * there is one process, in `leases.pml` each worker has w_* of its own. States, moves,
 * steps and the order of the way back come from `table.pml`, which generate.py writes
 * from the code.
 *
 * The disk is two names a component: the target, and `.next` beside it, each with what a
 * process sees (target, beside) and what a power cut leaves (kept_*).
 *
 * -D name switches one seeded fault on; docs/reference/model.md says which property finds it.
 */

#include "table.pml"

#define BIT(number) (1 << (number))
#define IS(kind) ((kind) & BIT(step))
#define BIT_OF(one) ((one) -> OF_1 : OF_0)
/* callers hear of what is done; of writers that are stopped only as long as that lasts */
#define TOLD (~STEP_QUIESCE)

/* what a name on disk leads to */
#define NOTHING 0
#define OLD 1
#define NEW 2
#define TORN 3
#define FOREIGN 4

/* what the engine does next */
#define WAIT 0
#define DO 1
#define UNDO 2
#define PROBE 3
#define HELD 4

/* how it ended; FOUND is what a probe or a step says of a foreign target */
#define DONE 1
#define NOT_DONE 2
#define FAILED 3
#define FOUND 4

/* why an upgrade stands still: only a way back that was late goes on at a resume */
#define FOR_A_PERSON 1
#define OVERDUE 2

/* the disk, the program that runs from it, who writes it, and what a hook prepared */
byte target[2] = OLD, beside[2] = NOTHING;
byte kept_target[2] = OLD, kept_beside[2] = NOTHING;
bit synced[2] = 1;
byte runs[2] = OLD;
bit writes[2] = 1, prepared[2], written_over[2];

hidden int todo;
hidden byte advancing;

/* ---- decide ------------------------------------------------------------- */

inline first() {
	step = 0;
	do
	:: todo & BIT(step) -> break
	:: else -> step++
	od
}

inline turn_back() {
	w_undoing = 1;
	w_hold = 0
}

inline begin() {
	action = DO;
#ifdef INTENT_DROPPED
	w_begun = w_begun | (BIT(step) & ~STEP_STAGE);
#else
	w_begun = w_begun | BIT(step);
#endif
	w_done = w_done & ~BIT(step);
	w_failed = w_failed & ~BIT(step)
}

inline begin_undo() {
	action = UNDO;
	w_undo_begun = w_undo_begun | BIT(step);
	w_undone = w_undone & ~BIT(step)
}

/* who writes is stopped before an exchange back, whether they were started again or not */
#define STOPS(swaps) \
	(((swaps) & OF_0 -> STEP_UNQUIESCE & OF_0 : 0) | ((swaps) & OF_1 -> STEP_UNQUIESCE & OF_1 : 0))
#define SWAPS_TO_UNDO (STEP_SWAP & w_begun & ~w_undone)

/* of an end, only the components that something was done to are cleaned up */
#define TOUCHED(begun) \
	((((begun) & TOUCHING & OF_0) != 0) * OF_0 | (((begun) & TOUCHING & OF_1) != 0) * OF_1)
#define LEFT_OF(state, begun, done, failed) \
	(STEPS_OF(state) & ~(done) & ~(failed) & (((state) != ROLLED_BACK) * ~0 | TOUCHED(begun)))
#define FINISHED (TERMINAL(d_state) && !LEFT_OF(d_state, d_begun, d_done, d_failed))

/* go on from where the records stand: moves, then the next intent */
inline advance() {
	action = WAIT;
	step = 0;
	advancing = 1;
	do
	:: !advancing -> break
	:: advancing && w_hold -> action = HELD; advancing = 0
	:: advancing && !w_hold && TERMINAL(w_state) ->
		todo = LEFT_OF(w_state, w_begun, w_done, w_failed);
		if
		:: todo -> first(); begin()
		:: else
		fi;
		advancing = 0
#ifdef FORWARD_WHILE_UNDOING
	:: advancing && !w_hold && !TERMINAL(w_state) && w_undoing && w_state != VERIFIED ->
#else
	:: advancing && !w_hold && !TERMINAL(w_state) && w_undoing ->
#endif
#ifdef UNDO_TRUSTS_DONE
		todo = UNDOABLE & ~STEP_UNQUIESCE & w_done & ~w_undone;
#else
		todo = UNDOABLE & ~STEP_UNQUIESCE & w_begun & ~w_undone;
#endif
#ifndef WRITERS_RUN_ON_THE_WAY_BACK
		todo = todo | (STOPS(SWAPS_TO_UNDO) & ~w_undone);
#endif
#ifdef WRITERS_LEFT_STOPPED
		todo = todo & ~STEP_QUIESCE;
#endif
#ifdef ONE_NOT_UNDONE
		todo = todo & ~OF_0;
#endif
		if
		:: todo ->
#ifdef COMPONENTS_FORWARD
			first_undo_components_forward();
#else
#ifdef HOOKS_FIRST
			first_undo_hooks_first();
#else
			first_undo();
#endif
#endif
			begin_undo();
			advancing = 0
		:: else -> move(UNDONE)
		fi
	:: else ->
		todo = w_begun & ~w_done & ~w_failed;
		if
		:: todo ->
			first();
			action = PROBE;
#ifdef PROBE_NEVER_COMES
			action = WAIT;
#endif
			advancing = 0
		:: else ->
			todo = STEPS_OF(w_state) & ~w_done;
			if
			:: todo -> first(); begin(); advancing = 0
			:: else -> move_forward()
			fi
		fi
	od;
	where = ((OF_1 & BIT(step)) -> 1 : 0);
	outcome = 0
}

/* whoever was stopped for an exchange that is to come may run again: stopped anew */
inline reopen() {
#ifdef STOPPED_ONCE
	skip
#else
	if
	:: w_undoing -> w_undone = w_undone & ~STOPS(SWAPS_TO_UNDO)
	:: else ->
		todo = STEP_QUIESCE & w_done &
			~((w_done & STEP_SWAP & OF_0 -> OF_0 : 0) | (w_done & STEP_SWAP & OF_1 -> OF_1 : 0));
		w_done = w_done & ~todo;
		w_failed = w_failed | todo
	fi
#endif
}

/* D3: what a resume says before it goes on; of an end, that what failed is tried again */
inline note_resumed() {
	if
	:: TERMINAL(w_state) ->
#ifndef CLEAN_UP_TRIED_ONCE
		w_failed = w_failed & ~(STEPS_OF(w_state) & CLEAN_UP)
#else
		skip
#endif
	:: !TERMINAL(w_state) && w_hold == OVERDUE -> w_hold = 0; reopen()
	:: !TERMINAL(w_state) && w_hold == FOR_A_PERSON
	:: !TERMINAL(w_state) && !w_hold ->
		reopen();
		todo = w_begun & ~w_done & ~w_failed;
		if
		:: back_on_crash && !w_undoing && !(w_begun & STEP_SWAP) && !todo -> turn_back()
		:: else
		fi
	fi
}

inline note_result() {
	if
	:: action == DO && outcome == DONE -> w_done = w_done | BIT(step)
	:: action == DO && outcome != DONE ->
		w_failed = w_failed | BIT(step);
		if
		:: TERMINAL(w_state)
		:: !TERMINAL(w_state) && outcome == FOUND -> w_hold = FOR_A_PERSON
#ifndef FAILED_STEP_DONE_AGAIN
		:: !TERMINAL(w_state) && outcome != FOUND && !w_undoing -> turn_back()
#endif
		:: else
		fi
	:: action == UNDO && outcome == DONE -> w_undone = w_undone | BIT(step)
	:: action == UNDO && outcome != DONE && !(IS(STEP_STAGE) && outcome == FAILED) ->
		w_hold = FOR_A_PERSON
	:: action == UNDO && IS(STEP_STAGE) && outcome == FAILED ->
		w_undone = w_undone | BIT(step) /* given up: the clean-up tries again */
	:: action == PROBE && outcome == FOUND -> w_hold = FOR_A_PERSON
	:: action == PROBE && outcome != FOUND ->
		if
		:: outcome == DONE -> w_done = w_done | BIT(step)
		:: else -> w_failed = w_failed | BIT(step)
		fi;
		if
		:: back_on_crash && !w_undoing && !w_hold && !(w_done & STEP_SWAP) -> turn_back()
		:: else
		fi
	fi
}

/* ---- the journal -------------------------------------------------------- */

inline tell() {
	told_undoing = told_undoing | w_undoing;
	told_done = told_done | (w_done & TOLD);
	if
	:: w_state == COMMITTED -> told_committed = 1
	:: w_state == ROLLED_BACK -> told_rolled_back = 1
	:: else
	fi
}

inline make_durable() {
	d_state = w_state; d_undoing = w_undoing; d_hold = w_hold;
	d_begun = w_begun; d_done = w_done; d_failed = w_failed;
	d_undo_begun = w_undo_begun; d_undone = w_undone
}

inline forget_written() {
	w_state = d_state; w_undoing = d_undoing; w_hold = d_hold;
	w_begun = d_begun; w_done = d_done; w_failed = d_failed;
	w_undo_begun = d_undo_begun; w_undone = d_undone
}

/* ---- the target --------------------------------------------------------- */

inline fsync_parent() {
	kept_target[where] = target[where];
	kept_beside[where] = beside[where]
}

inline exchange() {
	todo = target[where];
	target[where] = beside[where];
	beside[where] = todo;
	todo = 0;
	written_over[where] = written_over[where] | (STEP_QUIESCE & BIT_OF(where) -> writes[where] : 0)
}

inline stage() {
	d_step { beside[where] = NEW; synced[where] = 0 };
	d_step {
#ifndef STAGE_NOT_FLUSHED
		synced[where] = 1;
#endif
		fsync_parent();
		outcome = DONE
	}
}

/* recheck, exchange, check what was displaced, make it durable */
inline swap(expected, wanted) {
	if
	:: d_step { target[where] == wanted ->
		fsync_parent();
		outcome = DONE
	   }
#ifdef FOREIGN_OVERWRITTEN
	:: target[where] != wanted ->
#else
	:: target[where] == expected && beside[where] == wanted ->
#endif
		d_step { exchange() };
		if
#ifdef FOREIGN_OVERWRITTEN
		:: true
#else
		:: beside[where] == expected
		:: beside[where] != expected ->
			d_step { exchange(); outcome = FOUND }
#endif
		fi;
		d_step {
#ifndef NO_FLUSH_BEFORE_DONE
			fsync_parent();
#endif
			if
			:: outcome == 0 -> outcome = DONE
			:: else
			fi
		}
#ifndef FOREIGN_OVERWRITTEN
	:: d_step { target[where] != wanted && !(target[where] == expected && beside[where] == wanted) ->
		outcome = FOUND
	   }
#endif
	fi
}

/* take away what is beside the target, if it is what this upgrade left there */
inline clean(expected) {
	d_step {
		if
#ifdef FOREIGN_OVERWRITTEN
		:: true ->
#else
		:: beside[where] == NOTHING || beside[where] == expected || beside[where] == TORN ->
#endif
			beside[where] = NOTHING;
			fsync_parent();
			outcome = DONE
#ifndef FOREIGN_OVERWRITTEN
		:: else -> outcome = FOUND
#endif
		fi
	}
}

inline look(condition) {
	d_step {
		if
		:: condition -> outcome = DONE
		:: else -> outcome = FOUND
		fi
	}
}

inline restart_program() {
	d_step { runs[where] = target[where]; outcome = DONE }
}

inline prepare(wanted) {
	d_step { prepared[where] = wanted; outcome = DONE }
}

/* stop who writes the target; at an exchange only with the target seen to be ours */
inline stop_writers() {
	d_step { writes[where] = 0; outcome = DONE }
}

inline start_writers() {
	d_step { writes[where] = 1; runs[where] = target[where]; outcome = DONE }
}

#define IS_FOREIGN \
	(target[where] != NEW && !(target[where] == OLD && beside[where] == NEW))

inline do_step() {
	if
#ifdef FAILED_STEP_DONE_AGAIN
	:: d_step { outcome = FAILED }
#else
	:: d_step { failures < FAILURES -> failures++; outcome = FAILED }
#endif
	:: IS(STEP_CHECK | STEP_SNAPSHOT) -> look(target[where] == OLD)
	:: IS(STEP_STAGE) -> stage()
	:: IS(STEP_BEFORE_SWAP) -> prepare(1)
	:: IS(STEP_QUIESCE) && !IS_FOREIGN -> stop_writers()
	:: IS(STEP_QUIESCE) && IS_FOREIGN -> outcome = FOUND
	:: IS(STEP_SWAP) -> swap(OLD, NEW)
	:: IS(STEP_UNQUIESCE) -> start_writers()
	:: IS(STEP_AFTER_SWAP) -> restart_program()
	:: IS(STEP_RECHECK) -> look(target[where] == NEW && beside[where] == OLD)
	:: IS(STEP_CLEAN_COMMITTED) -> clean(OLD)
#ifdef STAGE_UNDONE_OR_LEFT
	:: IS(STEP_CLEAN_ROLLED_BACK) -> outcome = DONE
#else
	:: IS(STEP_CLEAN_ROLLED_BACK) -> clean(NEW)
#endif
#ifdef OLD_DROPPED_EARLY
	:: IS(STEP_HEALTH) -> clean(OLD)
	:: IS(STEP_POINT) -> outcome = DONE
#else
	:: IS(STEP_HEALTH | STEP_POINT) -> outcome = DONE
#endif
	fi
}

inline undo_step() {
	if
	:: d_step { failures < FAILURES -> failures++; outcome = FAILED }
	:: IS(STEP_STAGE) -> clean(NEW)
	:: IS(STEP_BEFORE_SWAP) -> prepare(0)
	:: IS(STEP_UNQUIESCE) -> stop_writers()
	:: IS(STEP_SWAP) -> swap(NEW, OLD)
	:: IS(STEP_QUIESCE) -> start_writers()
	:: IS(STEP_AFTER_SWAP) -> restart_program()
	fi
}

inline probe_step() {
	d_step {
		if
#ifdef INTENT_TAKEN_FOR_DONE
		:: IS(STEP_SWAP) -> outcome = DONE
#else
		:: IS(STEP_SWAP) && target[where] == NEW ->
#ifndef PROBE_WITHOUT_FLUSH
			fsync_parent();
#endif
			outcome = DONE
		:: IS(STEP_SWAP) && target[where] == OLD && beside[where] == NEW -> outcome = NOT_DONE
		:: IS(STEP_SWAP) && IS_FOREIGN -> outcome = FOUND
#endif
		:: IS(STEP_STAGE) && beside[where] == NEW ->
			/* read back, and synced again: a kill may have come before the sync */
			synced[where] = 1;
			fsync_parent();
			outcome = DONE
		:: IS(STEP_STAGE) && beside[where] != NEW -> outcome = NOT_DONE
		:: !IS(STEP_SWAP | STEP_STAGE) -> outcome = NOT_DONE
		fi
	}
}

inline perform() {
	if
	:: action == DO -> do_step()
	:: action == UNDO -> undo_step()
	:: action == PROBE -> probe_step()
	fi
}

/* what the kernel had not written is lost, name by name; an exchange is one write */
inline lose(one) {
	if
	:: kept_target[one] = target[one]; kept_beside[one] = beside[one]
	:: target[one] != kept_target[one] || beside[one] != kept_beside[one] ->
		target[one] = kept_target[one];
		beside[one] = kept_beside[one]
	fi;
	if
	:: true
	:: !synced[one] ->
		if
		:: target[one] == NEW -> target[one] = TORN; kept_target[one] = TORN
		:: target[one] != NEW && beside[one] == NEW -> beside[one] = TORN; kept_beside[one] = TORN
		:: else
		fi
	fi;
	if
	:: true
	:: !writes[one] -> writes[one] = 1 /* the machine starts what it starts */
	fi;
	synced[one] = 1;
	runs[one] = target[one]
}

inline replace_target(one) {
	stranger[one] = 1;
	target[one] = FOREIGN;
	kept_target[one] = FOREIGN;
	kept_beside[one] = beside[one]
}
