/* See place.h. */
#include "store/place.h"

#include "base/status.h"
#include "store/disk.h"
#include "store/schema.h"

static int find(struct place *p, const struct store_place *where, const char **why) {
    *p = (struct place){.folder = {.dir = -1, .lock = -1}};
    if (!where->disk) {
        int err = folder_look(&p->folder, where->folder, why);
        p->file = p->folder.file;
        return err;
    }
    p->file = FOLDER_FILE;
    p->vfs = disk_vfs(where->disk);
    return disk_has(where->disk, slice_str(FOLDER_FILE)) ? 0 : E_NOTFOUND;
}

int place_open(struct place *p, const struct store_place *where) {
    const char *why = NULL;
    int64_t head;
    int err = find(p, where, &why);
    if (err < 0) return err;
    err = db_open(&p->db, p->file, p->vfs, DB_READ);
    if (err == 0) err = schema_check(&p->db, &why);
    if (err == 0) err = db_run(&p->db, db_sql(&p->db, SQL_BEGIN_READ));
    if (err == 0) err = db_number(&p->db, db_sql(&p->db, SQL_HEAD), 0, &head);
    if (err < 0) place_close(p);
    return err;
}

void place_close(struct place *p) {
    db_close(&p->db);
    if (p->folder.path) folder_close(&p->folder);
}
