package manual

// Conduct is what no help tells of a command: what it does with its time, its input and its output.
type Conduct struct {
	Endless bool     // runs until it is stopped
	Input   bool     // reads its standard input to the end
	Raw     bool     // prints bytes that are no text
	Unless  []string // the options with which it does none of that
}

// conducts are those that differ from "ends by itself, reads nothing, prints text".
var conducts = map[string]Conduct{
	"receive-wal": {Endless: true, Unless: []string{"stop", "reset", "create-slot", "drop-slot"}},
	"get-wal":     {Raw: true, Unless: []string{"output-directory", "peek", "test"}},
	"put-wal":     {Input: true, Unless: []string{"test"}},
}

// Conduct is the command's, of whatever Barman.
func (c Command) Conduct() Conduct { return conducts[c.Name] }
