// Package testkit holds what the tests of this module share: builders of the API's objects, the control plane that envtest suites run
// on, and the check of a status that ends every controller case. Only tests and the demo import it.
package testkit
