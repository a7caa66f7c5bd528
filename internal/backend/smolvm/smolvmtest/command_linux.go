package smolvmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// word is the first argument of the test's program when it is smolvm; the second is
// the folder of the state.
const word = "smolvm-stand-in"

// Main must be the first thing in the TestMain of a program that calls Install: with
// args (os.Args) of the stand-in it does the stand-in's work, and ran is true.
func Main(args []string) (code int, ran bool) {
	if len(args) < 3 || args[1] != word {
		return 0, false
	}
	p := program{dir: args[2]}
	if os.Geteuid() == 0 {
		p.operator, p.group = os.Getuid(), os.Getgid()
	}
	code, err := p.main(args[3:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	return code, true
}

// Faults are what a version of smolvm does wrong, and what stands for the world.
type Faults struct {
	Version    string `json:"version"`     // such as 1.9.3; 0.8.0 has its own command line and drops the allow-list with --from
	DropAllow  bool   `json:"drop_allow"`  // --allow-cidr is taken and ignored
	OpenWorld  bool   `json:"open_world"`  // --allow-cidr holds for the loopback alone
	KillSecond bool   `json:"kill_second"` // the second exec after the start is killed
	OneExec    bool   `json:"one_exec"`    // an exec beside another is killed
	NoStart    bool   `json:"no_start"`    // start fails
	RemapUID   int    `json:"remap_uid"`   // what of a share is root's on the host is this user's in the VM; 501 is macOS's first
	NoSize     bool   `json:"no_size"`     // exec -t gives a terminal of 0×0 and passes no change on; 0.8.0 does
	Datagrams  bool   `json:"datagrams"`   // datagrams are not filtered: the relay sends each to every UDP socket of 127.0.0.1
	DropRO     bool   `json:"drop_ro"`     // -v …:ro is taken, and the share is writable
	World      string `json:"world"`       // host:port that stands for all addresses beyond the loopback
}

type program struct {
	dir string
	Faults
	operator, group int // who called; see InstallFor
}

// machine is what is known of one.
type machine struct {
	Name    string   `json:"name"`
	State   string   `json:"state"`
	Image   string   `json:"image"`
	Allow   []string `json:"allow"`
	Net     bool     `json:"net"`
	Volumes []string `json:"volumes"`
	Mem     int      `json:"mem"`
	CPUs    int      `json:"cpus"`
	PID     int      `json:"pid"`   // of the relay, which ends with the VM
	Execs   int      `json:"execs"` // since the start
	UID     int      `json:"uid"`   // whose it is: a share has nobody else's files
	GID     int      `json:"gid"`
	Argv    []string `json:"argv"` // of the create, for the tests to look at
}

func (p *program) home(name string) string { return filepath.Join(p.dir, "machines", name) }

func (p *program) read(name string) (machine, error) {
	var m machine
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return m, fmt.Errorf("invalid machine name %q", name)
	}
	b, err := os.ReadFile(filepath.Join(p.home(name), "machine.json"))
	if errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("machine %q not found", name)
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if m.State == "running" && !living(m.PID) {
		m.State = "stopped"
	}
	return m, err
}

func (p *program) write(m machine) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	file := filepath.Join(p.home(m.Name), "machine.json")
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// main runs one call. Usage is exit code 2, any other failure 1.
func (p *program) main(args []string) (int, error) {
	b, err := os.ReadFile(filepath.Join(p.dir, "faults.json"))
	if err == nil {
		err = json.Unmarshal(b, &p.Faults)
	}
	if err != nil {
		return 1, err
	}
	switch {
	case len(args) == 1 && args[0] == "--version":
		fmt.Println("smolvm", p.Version)
		return 0, nil
	case len(args) == 2 && args[0] == relayWord:
		return p.relay(args[1])
	case len(args) == 2 && args[0] == initWord:
		return p.init(args[1])
	case len(args) < 2 || args[0] != "machine" && args[0]+" "+args[1] != packWords:
		return 2, errors.New("unrecognized subcommand")
	}
	if args[0] != "machine" {
		args[1] = packWords
	}
	f, err := p.parse(args[1], args[2:])
	if err != nil {
		return 2, err
	}
	if f.on["--help"] {
		fmt.Println("Usage: smolvm " + args[0] + " " + args[1] + " [OPTIONS]\n\nOptions:")
		for _, o := range p.flags(args[1]) {
			fmt.Println("      " + strings.Replace(o, "=", " <VALUE>", 1))
		}
		return 0, nil
	}
	do := map[string]func(*flags) (int, error){"create": p.create, "start": p.start, "stop": p.stop, "status": p.status, "exec": p.exec, "ls": p.ls, "delete": p.remove, "cp": p.copyFile, "update": p.update, packWords: p.pack}
	run, ok := do[args[1]]
	if !ok {
		return 2, fmt.Errorf("unrecognized subcommand %q", args[1])
	}
	return run(f)
}

// packWords are the one call that is none of machine's.
const packWords = "pack create"

// nameless are the subcommands that work on no machine of a name.
func nameless(sub string) bool { return sub == "ls" || sub == "cp" || sub == packWords }

// flags is a parsed command line.
type flags struct {
	name   string
	values map[string][]string
	on     map[string]bool
	rest   []string
}

func (f *flags) last(name string) string {
	v := f.values[name]
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
}

func (p *program) old() bool { return strings.HasPrefix(p.Version, "0.") }

// flags are those of a subcommand: with a = they take a value.
func (p *program) flags(sub string) []string {
	all := map[string][]string{
		"create": {"--name=", "--image=", "--from=", "-s=", "--smolfile=", "--net", "--allow-cidr=", "--allow-host=", "--outbound-localhost-only", "-v=", "--volume=", "-p=", "-e=", "--env=", "--secret-env=", "--secret-file=", "--cpus=", "--mem="},
		"start":  {"--name="}, "stop": {"--name="}, "status": {"--name=", "--json"},
		"exec": {"--name=", "-i", "--interactive", "-t", "--tty", "-e=", "--env=", "-w=", "--workdir=", "--stream", "--secret-env=", "--secret-file="},
		"ls":   {"--json"}, "delete": {"--name=", "-f", "--force"}, "cp": {},
		"update":  {"--name=", "--cpus=", "--mem=", "-v=", "--volume=", "--allow-cidr="},
		packWords: {"--image=", "-o=", "--output=", "--from-vm="},
	}
	list := append(all[sub], "--help")
	if p.positional(sub) {
		list = slices.DeleteFunc(list, func(f string) bool { return f == "--name=" })
	}
	return list
}

// positional: 0.8.0 took the name alone there.
func (p *program) positional(sub string) bool { return p.old() && (sub == "create" || sub == "delete") }

// parse is strict, as clap is: what is not known ends the call.
func (p *program) parse(sub string, args []string) (*flags, error) {
	f := &flags{values: map[string][]string{}, on: map[string]bool{}}
	known := p.flags(sub)
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--" && sub == "exec":
			f.rest = args[i+1:]
			i = len(args)
		case slices.Contains(known, a):
			f.on[a] = true
		case slices.Contains(known, a+"="):
			if i++; i == len(args) {
				return nil, fmt.Errorf("a value is required for '%s'", a)
			}
			f.values[a] = append(f.values[a], args[i])
		case sub == "cp" && !strings.HasPrefix(a, "-"):
			f.rest = append(f.rest, a)
		case p.positional(sub) && f.name == "" && !strings.HasPrefix(a, "-"):
			f.name = a
		default:
			return nil, fmt.Errorf("unexpected argument '%s' found", a)
		}
	}
	if n := f.last("--name"); n != "" {
		f.name = n
	}
	if f.name == "" && !nameless(sub) && !f.on["--help"] {
		return nil, errors.New("the following required arguments were not provided: name")
	}
	return f, nil
}

func (p *program) create(f *flags) (int, error) {
	m := machine{Name: f.name, State: "created", Image: f.last("--image"), Net: f.on["--net"], Mem: 8192, CPUs: 4, UID: p.operator, GID: p.group, Argv: os.Args[3:]}
	m.Volumes = append(f.values["-v"], f.values["--volume"]...)
	m.Allow = f.values["--allow-cidr"]
	m.Net = m.Net || len(m.Allow) > 0
	if from := f.last("--from"); from != "" {
		if p.old() && (f.last("--smolfile") != "" || f.last("-s") != "") {
			return 2, errors.New("the argument '--from' cannot be used with '--smolfile'")
		}
		if strings.HasPrefix(p.Version, "0.8.") {
			m.Allow = []string{"0.0.0.0/0"} // nothing was enforced
		}
	}
	if p.DropAllow && m.Net || m.Net && len(m.Allow) == 0 {
		m.Allow = []string{"0.0.0.0/0"}
	}
	if p.OpenWorld {
		m.Allow = append(m.Allow, beyond()...)
	}
	if err := sizes(f, &m); err != nil {
		return 2, err
	}
	for _, v := range m.Volumes {
		parts := strings.Split(v, ":")
		if len(parts) < 2 || len(parts) > 3 || len(parts) == 3 && parts[2] != "ro" {
			return 2, fmt.Errorf("invalid value '%s' for '-v'", v)
		}
		if fi, err := os.Stat(parts[0]); err != nil || !fi.IsDir() {
			return 1, fmt.Errorf("volume %q is no directory", parts[0])
		}
	}
	if err := os.MkdirAll(filepath.Join(p.dir, "machines"), 0o700); err != nil {
		return 1, err
	}
	if err := os.Mkdir(p.home(m.Name), 0o700); err != nil {
		return 1, fmt.Errorf("machine %q already exists", m.Name)
	}
	if err := p.fill(f, &m); err != nil {
		return 1, errors.Join(err, os.RemoveAll(p.home(m.Name)))
	}
	return 0, p.write(m)
}

// beyond is all but 127.0.0.0/8.
func beyond() []string {
	return []string{"0.0.0.0/2", "64.0.0.0/3", "96.0.0.0/4", "112.0.0.0/5", "120.0.0.0/6", "124.0.0.0/7", "126.0.0.0/8", "128.0.0.0/1"}
}

// fill makes the machine's root file system.
func (p *program) fill(f *flags, m *machine) (err error) {
	dir := filepath.Join(p.home(m.Name), "rootfs")
	if from := f.last("--from"); from != "" {
		m.Image = dir
		return packed(from, dir, p.RemapUID)
	}
	m.Image, err = p.image(m.Image, dir, 0)
	return err
}

// sizes reads what a machine may use.
func sizes(f *flags, m *machine) error {
	for name, to := range map[string]*int{"--mem": &m.Mem, "--cpus": &m.CPUs} {
		if v := f.last(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 {
				return fmt.Errorf("invalid value '%s' for '%s'", v, name)
			}
			*to = n
		}
	}
	return nil
}

func (p *program) status(f *flags) (int, error) {
	m, err := p.read(f.name)
	if err != nil {
		return 1, err
	}
	fmt.Println(m.Name+":", m.State)
	return 0, nil
}

func (p *program) ls(f *flags) (int, error) {
	dirs, err := os.ReadDir(filepath.Join(p.dir, "machines"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 1, err
	}
	list := []machine{}
	for _, d := range dirs {
		if m, err := p.read(d.Name()); err == nil {
			list = append(list, m)
		}
	}
	if f.on["--json"] {
		return 0, json.NewEncoder(os.Stdout).Encode(list)
	}
	for _, m := range list {
		if _, err := io.WriteString(os.Stdout, m.Name+"\t"+m.State+"\n"); err != nil {
			return 1, err
		}
	}
	return 0, nil
}

func (p *program) remove(f *flags) (int, error) {
	m, err := p.read(f.name)
	if err != nil {
		return 1, err
	}
	if m.State == "running" {
		if !f.on["-f"] && !f.on["--force"] {
			return 1, fmt.Errorf("machine %q is running", m.Name)
		}
		if err := end(m.PID); err != nil {
			return 1, err
		}
	}
	dropGroups(m.Name)
	if err := os.RemoveAll(p.home(m.Name)); err != nil {
		return 1, err
	}
	return 0, nil
}

func (p *program) stop(f *flags) (int, error) {
	m, err := p.read(f.name)
	if err != nil {
		return 1, err
	}
	if m.State == "running" {
		if err := end(m.PID); err != nil {
			return 1, err
		}
	}
	dropGroups(m.Name)
	m.State, m.PID = "stopped", 0
	return 0, p.write(m)
}
