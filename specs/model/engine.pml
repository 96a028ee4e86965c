/*
 * One upgrade of two components, driven by an engine that may die at any step.
 *
 * Owns the model of `decide`, of the journal's commit, of the exchange on disk
 * and of a crash. States, moves, steps and the order of the way back come from
 * `table.pml`, which generate.py writes from the code.
 *
 * The journal is a fold: w_* is what the engine has written (and remembers),
 * d_* what a power cut leaves. A commit is written in one step and durable in
 * the next; between the two a crash keeps it or not. The disk is two names a
 * component: the target, and `.next` beside it, each with what a process sees
 * (target, beside) and what a power cut leaves (kept_*).
 *
 * -D name switches one seeded fault on; README.md says which property finds it.
 */

#include "table.pml"

#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef ABORTS
#define ABORTS 1
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

#define BIT(number) (1 << (number))
#define IS(kind) ((kind) & BIT(step))
#define CLEAN_UP (STEP_POINT | STEP_CLEAN_COMMITTED | STEP_CLEAN_ROLLED_BACK)

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

/* the journal: written, and durable */
byte w_state = PENDING, d_state = PENDING;
bit w_undoing, d_undoing, w_hold, d_hold;
int w_begun, w_done, w_failed, w_undo_begun, w_undone;
int d_begun, d_done, d_failed, d_undo_begun, d_undone;
bit committing;

/* what callers were told */
bit told_undoing, told_committed, told_rolled_back;
int told_done;

/* the disk, and the program that runs from it */
byte target[2] = OLD, beside[2] = NOTHING;
byte kept_target[2] = OLD, kept_beside[2] = NOTHING;
bit synced[2] = 1;
byte runs[2] = OLD;

/* the engine's memory, lost in a crash */
byte action = WAIT, step, outcome, where;
bit resuming;

/* the world */
bit up = 1, engine_down, caller_down, back_on_crash;
byte crashes, aborts, failures, strangers, releases;
bit stranger[2];

hidden int todo;
hidden byte advancing;

/* how often a crash was tried, over the whole search; printed by the checker */
c_decl {
	extern long kills_tried, cuts_tried;
	extern void tried(long *);
}
c_code {
	long kills_tried, cuts_tried;
	static void report_tried(void)
	{
		printf("crashes tried: %ld kills, %ld power cuts\n", kills_tried, cuts_tried);
	}
	void tried(long *counter)
	{
		static int registered;
		if (!registered) { registered = 1; atexit(report_tried); }
		++*counter;
	}
}

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
	w_begun = w_begun | BIT(step);
	w_failed = w_failed & ~BIT(step)
}

inline begin_undo() {
	action = UNDO;
	w_undo_begun = w_undo_begun | BIT(step);
	w_undone = w_undone & ~BIT(step)
}

/* go on from where the records stand: moves, then the next intent */
inline advance() {
	action = WAIT;
	step = 0;
	advancing = 1;
	do
	:: !advancing -> break
	:: advancing && w_hold -> action = HELD; advancing = 0
	:: advancing && !w_hold && TERMINAL(w_state) ->
		todo = STEPS_OF(w_state) & ~w_done & ~w_failed;
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
		todo = UNDOABLE & w_done & ~w_undone;
#else
		todo = UNDOABLE & w_begun & ~w_undone;
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

/* D3: what a resume says before it goes on; of an end, that what failed is tried again */
inline note_resumed() {
	todo = w_begun & ~w_done & ~w_failed;
	if
	:: TERMINAL(w_state) -> w_failed = w_failed & ~(STEPS_OF(w_state) & CLEAN_UP)
	:: back_on_crash && !TERMINAL(w_state) && !w_hold && !w_undoing &&
	   !(w_begun & STEP_SWAP) && !todo -> turn_back()
	:: else
	fi
}

inline note_result() {
	if
	:: action == DO && outcome == DONE -> w_done = w_done | BIT(step)
	:: action == DO && outcome != DONE ->
		w_failed = w_failed | BIT(step);
		if
		:: TERMINAL(w_state)
		:: !TERMINAL(w_state) && outcome == FOUND -> w_hold = 1
#ifndef FAILED_STEP_DONE_AGAIN
		:: !TERMINAL(w_state) && outcome != FOUND && !w_undoing -> turn_back()
#endif
		:: else
		fi
	:: action == UNDO && outcome == DONE -> w_undone = w_undone | BIT(step)
	:: action == UNDO && outcome != DONE && !(IS(STEP_STAGE) && outcome == FAILED) -> w_hold = 1
	:: action == UNDO && IS(STEP_STAGE) && outcome == FAILED ->
		w_undone = w_undone | BIT(step) /* given up: the clean-up tries again */
	:: action == PROBE && outcome == FOUND -> w_hold = 1
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
	told_done = told_done | w_done;
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

inline flush() {
	d_step {
		committing = 0;
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

/* ---- the target --------------------------------------------------------- */

inline fsync_parent() {
	kept_target[where] = target[where];
	kept_beside[where] = beside[where]
}

inline exchange() {
	todo = target[where];
	target[where] = beside[where];
	beside[where] = todo;
	todo = 0
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

inline do_step() {
	if
#ifdef FAILED_STEP_DONE_AGAIN
	:: d_step { outcome = FAILED }
#else
	:: d_step { failures < FAILURES -> failures++; outcome = FAILED }
#endif
	:: IS(STEP_CHECK | STEP_SNAPSHOT) -> look(target[where] == OLD)
	:: IS(STEP_STAGE) -> stage()
	:: IS(STEP_SWAP) -> swap(OLD, NEW)
	:: IS(STEP_AFTER_SWAP) -> restart_program()
	:: IS(STEP_RECHECK) -> look(target[where] == NEW && beside[where] == OLD)
	:: IS(STEP_CLEAN_COMMITTED) -> clean(OLD)
#ifdef STAGE_UNDONE_OR_LEFT
	:: IS(STEP_CLEAN_ROLLED_BACK) -> outcome = DONE
#else
	:: IS(STEP_CLEAN_ROLLED_BACK) -> clean(NEW)
#endif
	:: IS(STEP_HEALTH | STEP_POINT) -> outcome = DONE
	fi
}

inline undo_step() {
	if
	:: d_step { failures < FAILURES -> failures++; outcome = FAILED }
	:: IS(STEP_STAGE) -> clean(NEW)
	:: IS(STEP_SWAP) -> swap(NEW, OLD)
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
		:: IS(STEP_SWAP) && target[where] != NEW &&
		   !(target[where] == OLD && beside[where] == NEW) -> outcome = FOUND
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

/* ---- the processes ------------------------------------------------------ */

inline perform() {
	if
	:: action == DO -> do_step()
	:: action == UNDO -> undo_step()
	:: action == PROBE -> probe_step()
	fi
}

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
end_finished:	false
	:: action == HELD ->
end_held:	d_step { !w_hold && !committing -> note_resumed(); advance(); written() };
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

/* a person: takes the upgrade back, or ends a hold */
active proctype caller() {
end_not_begun:	do
	:: {
end_idle:	do
		:: d_step { aborts < ABORTS && !committing && !TERMINAL(w_state) && !w_undoing ->
			aborts++;
			turn_back();
			written()
		   };
			flush()
		:: d_step { releases < RELEASES && !committing && w_hold ->
			releases++;
			w_hold = 0;
			written()
		   };
			flush()
		:: d_step { releases < RELEASES && !committing && w_hold && !w_undoing ->
			releases++;
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
	:: committing -> committing = 0; make_durable()
	:: committing -> committing = 0; forget_written()
	:: !committing
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
	synced[one] = 1;
	runs[one] = target[one]
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
		stranger[0] = 1;
		target[0] = FOREIGN;
		kept_target[0] = FOREIGN;
		kept_beside[0] = beside[0]
	   }
	:: d_step { strangers < STRANGERS && !TERMINAL(d_state) && up ->
		strangers++;
		stranger[1] = 1;
		target[1] = FOREIGN;
		kept_target[1] = FOREIGN;
		kept_beside[1] = beside[1]
	   }
	od
}

/* ---- properties --------------------------------------------------------- */

#define IMPLIES(one, other) (!(one) || (other))
#define LEFT (STEPS_OF(d_state) & ~d_done & ~d_failed)
#define FINISHED (TERMINAL(d_state) && !LEFT)
#define REST (up && !committing && (d_hold || FINISHED))
#define NO_STRANGER (!stranger[0] && !stranger[1])
#define SWAP_0 (STEP_SWAP & OF_0)
#define SWAP_1 (STEP_SWAP & OF_1)

/* promise 1 */
#define KNOWN(name) (name == OLD || name == NEW || name == FOREIGN)
#define WHOLE \
	(KNOWN(target[0]) && KNOWN(target[1]) && KNOWN(kept_target[0]) && KNOWN(kept_target[1]))
ltl whole { [] WHOLE }

#define SIDE(one, what) (stranger[one] || (target[one] == what && kept_target[one] == what))
#define RIGHT_SIDE \
	(IMPLIES(d_state == COMMITTED, SIDE(0, NEW) && SIDE(1, NEW)) && \
	 IMPLIES(d_state == ROLLED_BACK, SIDE(0, OLD) && SIDE(1, OLD)))
ltl right_side { [] RIGHT_SIDE }

#define SAME_SIDE IMPLIES(REST && !d_hold && NO_STRANGER, target[0] == target[1])
ltl same_side { [] SAME_SIDE }

#define KEPT(one, what) (target[one] == what || beside[one] == what)
#define OLD_KEPT \
	(d_state == COMMITTED || ((stranger[0] || KEPT(0, OLD)) && (stranger[1] || KEPT(1, OLD))))
ltl old_kept { [] OLD_KEPT }

#define FOREIGN_KEPT (IMPLIES(stranger[0], KEPT(0, FOREIGN)) && IMPLIES(stranger[1], KEPT(1, FOREIGN)))
ltl foreign_kept { [] FOREIGN_KEPT }

#define IN_ORDER (!NO_STRANGER || target[1] != NEW || target[0] == NEW)
ltl in_order { [] IN_ORDER }

#define RUNS(one) IMPLIES(d_begun & STEP_AFTER_SWAP & OF_##one, runs[one] == target[one])
#define RUNS_WHAT_IS_THERE \
	IMPLIES(REST && !d_hold && !d_failed && NO_STRANGER, RUNS(0) && RUNS(1))
ltl runs_what_is_there { [] RUNS_WHAT_IS_THERE }

#define NOTHING_LEFT \
	IMPLIES(REST && !d_hold && NO_STRANGER && !(d_failed & STEPS_OF(d_state)), \
		beside[0] == NOTHING && beside[1] == NOTHING)
ltl nothing_left { [] NOTHING_LEFT }

/* promise 2 */
#define RECORDED(one, swap) \
	((stranger[one] || target[one] != NEW || (d_begun & swap)) && \
	 (!(d_undone & swap) || (d_undo_begun & swap)) && \
	 (beside[one] == NOTHING || (d_begun & STEP_STAGE & OF_##one)))
#define RECORDED_BEFORE_DONE (RECORDED(0, SWAP_0) && RECORDED(1, SWAP_1))
ltl recorded_before_done { [] RECORDED_BEFORE_DONE }

#define DURABLE(one, swap) \
	(stranger[one] || !(d_done & swap) || (d_undo_begun & swap) || kept_target[one] == NEW)
#define DURABLE_BEFORE_RECORDED (DURABLE(0, SWAP_0) && DURABLE(1, SWAP_1))
ltl durable_before_recorded { [] DURABLE_BEFORE_RECORDED }

/* promise 3 */
#define ACKNOWLEDGED \
	(IMPLIES(told_committed, d_state == COMMITTED) && \
	 IMPLIES(told_rolled_back, d_state == ROLLED_BACK) && \
	 IMPLIES(told_undoing, d_undoing) && !(told_done & ~d_done))
ltl acknowledged { [] ACKNOWLEDGED }

/* the machine */
#define HOLDS_FOR_A_REASON IMPLIES(d_hold, !NO_STRANGER || failures)
ltl holds_for_a_reason { [] HOLDS_FOR_A_REASON }

#define ABORT_IS_KEPT IMPLIES(told_undoing, d_state != COMMITTED)
ltl abort_is_kept { [] ABORT_IS_KEPT }

/* over time */
ltl final { [] (IMPLIES(d_state == COMMITTED, [] (d_state == COMMITTED)) && IMPLIES(d_state == ROLLED_BACK, [] (d_state == ROLLED_BACK))) }
ltl ends { <> [] REST }

/* all that hold in each state, as one claim: written by check.py */
#include "each_state.pml"

/* what a run must be able to reach: each of these has to fail */
ltl never_crashes_twice { [] (crashes < 2) }
ltl never_commits_after_a_crash { [] !(crashes && d_state == COMMITTED) }
ltl never_goes_back_after_both_flips { [] !(d_state == ROLLED_BACK && (d_done & SWAP_0) && (d_done & SWAP_1)) }
ltl never_goes_back_on_crash { [] !(crashes && !aborts && !failures && !strangers && d_state == ROLLED_BACK) }
ltl never_holds { [] !d_hold }
ltl never_half { [] !(target[0] == NEW && target[1] == OLD && !up) }
