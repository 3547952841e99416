package pattern

import "testing"

func TestPatternIsCompiledOnce(t *testing.T) {
	word := New(`^[a-z]+$`)
	if first, second := word(), word(); first != second {
		t.Error("two calls gave two expressions")
	}
	if !word().MatchString("abc") || word().MatchString("ABC") {
		t.Error("^[a-z]+$ matches something else than small letters")
	}
}

func TestWrongPatternFailsTheTestsOfItsPackage(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("New took an expression that cannot be compiled, and nobody would know before its first use")
		}
	}()
	New(`(`)
}
