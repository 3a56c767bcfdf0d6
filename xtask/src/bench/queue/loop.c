/* The peer of the bench `queue` on SQLite: the statements of one claim and one finish, as
 * the store sends them, in a loop, each prepared once. It does nothing else: what Shipway
 * takes longer is what Shipway costs.
 *
 *     loop DATABASE STATEMENTS SECONDS
 *
 * A line of STATEMENTS is a statement and its values, each after a tab: `n` null, `i` a
 * number, `k` the lease's token, `t` a text in which bytes 1 to 4 stand for the task's id,
 * subject, project and token. Prints what the example `measure_queue turns` prints. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STATEMENTS 64
#define VALUES 16
#define LENGTH 4096

struct statement {
    char *sql;
    char *value[VALUES];
    int values;
    int pragma; /* takes effect when it is prepared */
    sqlite3_stmt *prepared;
};

static struct statement all[STATEMENTS];
static int count;
static char own[4][LENGTH]; /* id, subject, project, token */
static sqlite3 *db;

static void fail(const char *what) {
    fprintf(stderr, "loop: %s: %s\n", what, db ? sqlite3_errmsg(db) : "");
    exit(1);
}

static void run(const char *sql) {
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail(sql);
}

static void read_statements(const char *path) {
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    if (!file)
        fail(path);
    while (getline(&line, &size, file) > 0) {
        char *rest = strdup(line), *word;
        struct statement *s = &all[count++];
        if (count == STATEMENTS)
            fail("too many statements");
        rest[strcspn(rest, "\n")] = 0;
        s->sql = strsep(&rest, "\t");
        while ((word = strsep(&rest, "\t")) != NULL && s->values < VALUES)
            s->value[s->values++] = word;
        s->pragma = strncmp(s->sql, "PRAGMA", 6) == 0;
        if (!s->pragma && sqlite3_prepare_v3(db, s->sql, -1, SQLITE_PREPARE_PERSISTENT, &s->prepared, NULL) != SQLITE_OK)
            fail(s->sql);
    }
    fclose(file);
}

static void bind(struct statement *s, int index) {
    const char *name = sqlite3_bind_parameter_name(s->prepared, index);
    int number = name ? atoi(name + 1) : index;
    const char *value = number <= s->values ? s->value[number - 1] : "n";
    char text[LENGTH * 2];
    size_t length = 0;
    switch (value[0]) {
    case 'n':
        return;
    case 'i':
        sqlite3_bind_int64(s->prepared, index, atoll(value + 1));
        return;
    case 'k':
        sqlite3_bind_int64(s->prepared, index, atoll(own[3]));
        return;
    }
    for (const char *c = value + 1; *c; c++) {
        const char *piece = *c < 5 ? own[*c - 1] : NULL;
        size_t add = piece ? strlen(piece) : 1;
        if (length + add >= sizeof text)
            fail("a text is too long");
        memcpy(text + length, piece ? piece : c, add);
        length += add;
    }
    sqlite3_bind_text(s->prepared, index, text, (int)length, SQLITE_TRANSIENT);
}

static int keep(struct statement *s) {
    static const char *const names[4] = {"id", "subject", "project", "lease_token"};
    int kept = 0;
    for (int column = 0; column < sqlite3_column_count(s->prepared); column++)
        for (int n = 0; n < 4; n++)
            if (strcmp(sqlite3_column_name(s->prepared, column), names[n]) == 0) {
                snprintf(own[n], LENGTH, "%s", (const char *)sqlite3_column_text(s->prepared, column));
                kept++;
            }
    return kept;
}

/* Returns 0 when there is no task left. */
static int turn(void) {
    for (int n = 0; n < count; n++) {
        struct statement *s = &all[n];
        int state, kept = 0, claims = s->sql && strstr(s->sql, "RETURNING id, project, subject") != NULL;
        if (s->pragma) {
            run(s->sql);
            continue;
        }
        for (int index = 1; index <= sqlite3_bind_parameter_count(s->prepared); index++)
            bind(s, index);
        while ((state = sqlite3_step(s->prepared)) == SQLITE_ROW)
            kept += claims ? keep(s) : 0;
        if (state != SQLITE_DONE)
            fail(s->sql);
        sqlite3_reset(s->prepared);
        sqlite3_clear_bindings(s->prepared);
        if (claims && kept != 4)
            return 0;
    }
    return 1;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    long turns = 0;
    if (argc != 4 || sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        fail("it wants a database, statements, seconds");
    run("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
        "PRAGMA cell_size_check = ON; PRAGMA journal_size_limit = 16777216");
    read_statements(argv[2]);
    if (!turn())
        fail("the queue is empty");
    double begun = now(), until = begun + atof(argv[3]);
    while (now() < until && turn())
        turns++;
    printf("{\"turns\": %ld, \"seconds\": %f}\n", turns, now() - begun);
    return 0;
}
