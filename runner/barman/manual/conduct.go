package manual

// Conduct is what no help tells of a command: what it does with its time, its input and its output. All
// others end by themselves, read nothing, ask nothing and print text: "help" and "sync-info" do, too, and
// "backup --wait" ends when the last WAL file has come, however long that takes. With "-f json" both
// "get-wal" and "sync-info" print "{}" behind what was asked for.
type Conduct struct {
	Endless bool     // runs until it is stopped
	Input   bool     // reads its standard input to the end
	Raw     bool     // prints bytes that are no text
	Unless  []string // the options with which it does none of that
}

// conducts is by the name that a command has had in all Barmans.
var conducts = map[string]Conduct{
	"receive-wal": {Endless: true, Unless: []string{"stop", "reset", "create-slot", "drop-slot"}},
	"get-wal":     {Raw: true, Unless: []string{"output-directory", "peek", "test"}},
	"put-wal":     {Input: true, Unless: []string{"test"}},
}

// Conduct is the command's, of whatever Barman.
func (c Command) Conduct() Conduct { return conducts[c.Name] }
