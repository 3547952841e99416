package barman

import (
	"os/user"
	"slices"
	"testing"
)

func TestEnvironment(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTP_HOST", "LD_PRELOAD", "PYTHONPATH", "PGPASSWORD", "REMOTE_USER", "LISTEN_FDS", "HOME", "USER", "LOGNAME", "SHELL"} {
		t.Setenv(name, "hostile")
	}
	for _, name := range passed {
		t.Setenv(name, "")
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"HOME=" + u.HomeDir, "LOGNAME=" + u.Username, "USER=" + u.Username}
	want := slices.Concat(own[:1], []string{"LANG=C.UTF-8"}, own[1:2], []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, own[2:])
	if got := Environment(); !slices.Equal(got, want) {
		t.Errorf("Environment = %q, want %q", got, want)
	}
	for _, name := range passed {
		t.Setenv(name, "of "+name)
	}
	got := Environment()
	if len(got) != len(passed)+3 || !slices.IsSorted(got) {
		t.Errorf("Environment = %q, want what is passed and three of the user, sorted", got)
	}
	for _, name := range passed {
		if !slices.Contains(got, name+"=of "+name) {
			t.Errorf("Environment = %q, want %s passed on", got, name)
		}
	}
}
