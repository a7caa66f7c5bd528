package own

import "bottle/internal/dlp/rule"

// connections are strings of settings that hold a password. URLs with one are Scan's.
func connections() []rule.Rule {
	const pass = "K9w2!rXp44m"
	return []rule.Rule{
		{ID: "connection-password", Description: "A password in a connection string (ADO.NET, ODBC, JDBC, libpq).", Keywords: []string{"password=", "pwd=", "password ="},
			Regexp: `(?i)(?:;|\b(?:host|user|dbname|port|sslmode|hostaddr|login|uid|username|server)=[^\s;&]{1,64}[\s;&]+)\s?(?:password|pwd)\s?=\s?["']?([^;\s"'<>&,]{6,256})|[\s"'\x60](?:password|pwd)\s?=\s?([^;\s"'<>&]{6,256});\s?(?:server|host|data source|uid|user|user id|database|initial catalog|driver|port)\s?=`, Check: connectionPassword,
			Hits: []string{
				"Server=tcp:db.internal,1433;Database=a;User ID=bob;Password=" + pass + ";Encrypt=True",
				"Driver={ODBC Driver 18 for SQL Server};Server=db;Uid=bob;Pwd=" + pass + ";",
				"host=db port=5432 user=bob password=" + pass + " dbname=a",
				`"Password=` + pass + `;Server=db"`, "jdbc:sqlserver://db:1433;user=bob;password=" + pass, "jdbc:mysql://db/a?user=bob&password=" + pass,
			},
			Misses: []string{
				"Server=db;Uid=bob;Pwd=password;", "Server=db;Password={password};", "host=db user=bob password=secret dbname=a", "a=b;password=this.password;c", "Server=x;Password=<password>", "server=x;password=$PASSWORD", "x;password=getPassword()",
			}},
	}
}

// connectionPassword wants a digit: what has none is mostly a name in a program.
func connectionPassword(secret []byte) bool { return password(secret) && !lettersOnly(secret) }
