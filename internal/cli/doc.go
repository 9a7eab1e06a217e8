// Package cli is the command line: it turns flags, environment variables and a
// YAML file into the configuration of internal/app, and its errors into one line
// and an exit code. One declaration, a struct a subcommand, serves all three: the
// flag --data-dir is the variable LZSTOCK_DATA_DIR and the key data-dir.
//
// What it promises:
//
//   - a flag wins over the environment, the environment over the file, the file
//     over the default;
//   - a variable LZSTOCK_* or a key that no subcommand has is refused at the
//     start, with the nearest right name;
//   - exit code 0 is success, 1 failure, 2 wrong use;
//   - the first SIGINT or SIGTERM stops politely, the second at once.
package cli
