package provider

// recipe is a Dockerfile of an image in which an agent can work. install is the
// command that installs its CLI, or empty. Everything of one image is fetched when it
// is made, by the engine; nothing of the host's goes into it.
func recipe(install string) string {
	base, more := "debian:bookworm-slim", ""
	if install != "" {
		base, more = "node:22-bookworm-slim", "RUN "+install+" && npm cache clean --force\n"
	}
	return "FROM " + base + "\n" +
		"RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl git jq less procps ripgrep && rm -rf /var/lib/apt/lists/*\n" +
		more
}
