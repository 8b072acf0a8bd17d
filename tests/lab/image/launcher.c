/* bin/obproxy of the simulated OBProxy: a real executable, so that /proc/PID/exe, comm and cmdline look like those of
 * the original, which runs the program beside it in the Python of the host. */
#include <stdlib.h>
#include <string.h>

/* Part of Python's stable interface; declared here so that the build needs no development package. */
extern int Py_BytesMain(int argc, char **argv);

static const char *const PROGRAM =
    "import os, sys\n"
    "home = os.path.dirname(os.path.dirname(os.path.realpath('/proc/self/exe')))\n"
    "sys.path.insert(0, os.path.join(home, 'lib'))\n"
    "from simulator.main import run\n"
    "run()\n";

int main(int argc, char **argv) {
    /* -I -S: nothing of the surroundings, no site packages. What follows -c CODE becomes sys.argv[1:]. */
    char *fixed[] = {argv[0], "-I", "-S", "-B", "-c", (char *)PROGRAM};
    const int fixed_count = sizeof fixed / sizeof *fixed;
    char **arguments = calloc(fixed_count + argc, sizeof *arguments);
    if (arguments == NULL) return 0;
    memcpy(arguments, fixed, sizeof fixed);
    memcpy(arguments + fixed_count, argv + 1, (argc - 1) * sizeof *argv);
    return Py_BytesMain(fixed_count + argc - 1, arguments);
}
