// Package simulation runs the real reconcilers, the real client of the service and the sandbox in one process, on virtual time, under one
// scheduler that a seed drives: two replicas, their caches, crashes, pauses, lost and late answers, and people who change their minds. After
// each run the sandbox's ledger, the log of all writes and the final objects are held against the invariants of docs/reliability.md.
//
// The package holds tests only. A seed that fails prints what to run to see its timeline; docs/reliability.md says what is simulated.
package simulation
