// Package desk is where an agent asks and an operator decides. It joins the queue of
// proposals, the policy in force, and what is let pass for a time:
//
//	agent      desk                           operator
//	  │ Ask      │                               │
//	  ├─────────▶│ check, fold, queue, record    │
//	  │          │◀──────────────────── Decide ──┤
//	  │          │ write the decision            │  killed before this: it still waits
//	  │          │ record it                     │  killed after: done at the next load
//	  │          │ put the policy in force       │
//	  │◀─────────┤ answer                        │
//
// The effect of an approval is a function of what is written: the manifest's routes,
// amended by every grant that holds. It is made anew at each change, and at load, so
// nothing is lost and nothing is applied twice.
package desk
