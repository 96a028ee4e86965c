/*
 * The promises that are the same with one engine and with two: of the journal (d_*), of
 * what callers were told, and of the disk. REST and NO_STRANGER are the model's own.
 */

#define IMPLIES(one, other) (!(one) || (other))
#define SWAP_0 (STEP_SWAP & OF_0)
#define SWAP_1 (STEP_SWAP & OF_1)

/* promise 1 */
#define KNOWN(name) (name == OLD || name == NEW || name == FOREIGN)
#define WHOLE \
	(KNOWN(target[0]) && KNOWN(target[1]) && KNOWN(kept_target[0]) && KNOWN(kept_target[1]))
ltl whole { [] WHOLE }

#define SIDE(one, what) (!OF_##one || stranger[one] || (target[one] == what && kept_target[one] == what))
#define RIGHT_SIDE \
	(IMPLIES(d_state == COMMITTED, SIDE(0, NEW) && SIDE(1, NEW)) && \
	 IMPLIES(d_state == ROLLED_BACK, SIDE(0, OLD) && SIDE(1, OLD)))
ltl right_side { [] RIGHT_SIDE }

#define KEPT(one, what) (target[one] == what || beside[one] == what)
#define OLD_KEPT \
	(d_state == COMMITTED || ((stranger[0] || KEPT(0, OLD)) && (stranger[1] || KEPT(1, OLD))))
ltl old_kept { [] OLD_KEPT }

#define FOREIGN_KEPT (IMPLIES(stranger[0], KEPT(0, FOREIGN)) && IMPLIES(stranger[1], KEPT(1, FOREIGN)))
ltl foreign_kept { [] FOREIGN_KEPT }

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

/* promise 7 */
#define ABORT_IS_KEPT IMPLIES(told_undoing, d_state != COMMITTED)
ltl abort_is_kept { [] ABORT_IS_KEPT }
