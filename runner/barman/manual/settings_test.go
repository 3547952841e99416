package manual

import (
	"encoding/json"
	"testing"
)

func TestScope(t *testing.T) {
	for _, tc := range []struct{ written, want string }{
		{"Global", "Global"}, {"Server", "Server"}, {"Global/Server", "Global/Server"}, {"Global/server", "Global/Server"}, {"Global / Server / Model", "Global/Server/Model"},
		{"Server / Model", "Server/Model"}, {"Model", "Model"}, {"", ""},
	} {
		var s Scope
		if err := s.UnmarshalText([]byte(tc.written)); err != nil || s.String() != tc.want {
			t.Errorf("%q is read as %q, %v, want %q", tc.written, s, err, tc.want)
		}
		b, err := json.Marshal(Setting{Scope: s})
		var back Setting
		if err != nil || json.Unmarshal(b, &back) != nil || back.Scope != s {
			t.Errorf("%s comes back as %+v, %v", b, back, err)
		}
	}
}

func TestPagesInSmall(t *testing.T) {
	for _, tc := range []struct {
		name, source string
		want         map[string]Setting
	}{
		{"as pandoc writes", ".TH \"BARMAN\" \"5\" \"\" \"\" \"Version 3.4.0\"\n.SH OPTIONS\n.TP\n.B a_b\nOne\\[aq]s \\f[C]\\-x\\f[]\ntext.\nGlobal/Server.\nc_d\n.RS\n.RE\nTwo.\n.IP \\[bu] 2\nitem\nGlobal.\nMore.\n.RS\n.RE\n.SH HOOKS\n.TP\n.B e\nNo.\n", map[string]Setting{
			"a_b": {"a_b", "One's -x text.", Scope{Global: true, Server: true}}, "c_d": {"c_d", "Two.\n\n• item More.", Scope{Global: true}},
		}},
		{"as docutils writes", ".de1 INDENT\n.SH OPTIONS\n..\n.TH B 5 x 3.20 B\n.SH OPTIONS\n.SS General\n.sp\nThese are.\n.sp\n\\fBa\\fP\n.sp\nA \\fBword\\fP\\&.\n.INDENT 0.0\n.sp\n\\fBinside\\fP\n.TP\n.B nested\n.sp\n.EX\nx =  1\n  y\n.EE\n.UNINDENT\n.SS Table\n.TS\nl|l.\nT{\n\\fBb\\fP\nT}\tT{\n1\nT}\n_\n.TE\n.sp\nScope: Server / Model.\n.SS Others\n.sp\nText.\n.sp\n\\fBc\\fP\n.sp\nNo scope.\n", map[string]Setting{
			"a": {"a", "A word.\n\ninside\n\nnested\n\nx =  1\n  y\n\nTable\n\nb | 1", Scope{Server: true, Model: true}}, "c": {"c", "No scope.", Scope{}},
		}},
		{"without options", ".TH B 5\n.SH NAME\n.TP\n.B a\nText.\n", nil},
		{"no page", "\x1f\x8b binary", nil},
		{"empty", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			page, err := ParsePage(tc.source)
			if (err == nil) != (tc.want != nil) || len(page.Settings) != len(tc.want) {
				t.Fatalf("ParsePage = %+v, %v, want %d settings", page.Settings, err, len(tc.want))
			}
			for name, want := range tc.want {
				if got := page.Settings[name]; got != want {
					t.Errorf("%s is %+v, want %+v", name, got, want)
				}
			}
		})
	}
}
