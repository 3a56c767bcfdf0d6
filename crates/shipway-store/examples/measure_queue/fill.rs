//! A database full of work: one deploy as somebody asks for it, and copies of its rows.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};
use shipway_model::task::{Content, Deploy, DeployProgram};
use shipway_model::{ContentKind, Egress, HealthCheck, Limits, Runner, ServiceId, TaskPayload};
use shipway_store::{Request, Target};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::{is_postgres, open};

pub(crate) fn request(name: &str) -> io::Result<Request> {
    let content = Content::Url { url: "http://127.0.0.1/hello.html".to_owned() };
    let program = DeployProgram::Content { content, kind: ContentKind::Static, runner: Runner::Native };
    Ok(Request {
        project: "default".parse().map_err(io::Error::other)?,
        target: Target::NamedOrNew(name.parse().map_err(io::Error::other)?, ServiceId(Uuid::new_v4())),
        payload: TaskPayload::Deploy(Deploy {
            program,
            env: BTreeMap::new(),
            limits: Limits::default(),
            health: HealthCheck::default(),
            egress: Egress::None,
        }),
        actor: "local".to_owned(),
        if_version: None,
    })
}

/// `{service}` and `{task}` make a UUID of a row's number.
const COPIES: [&str; 2] = [
    "INSERT INTO service (id, project, name, wanted, state, version, created_at, updated_at)
     SELECT {service}, 'p' || (n % PROJECTS), 'service-' || n, s.wanted, s.state, 1, s.created_at, s.updated_at
     FROM numbers, (SELECT * FROM service LIMIT 1) s",
    "INSERT INTO task (id, project, subject, kind, priority, payload, actor, state,
         attempt, attempts_max, lease_token, not_before, created_at)
     SELECT {task}, 'p' || (n % PROJECTS), {service}, t.kind, t.priority, t.payload, t.actor, 'queued',
         0, t.attempts_max, 0, t.not_before, t.created_at
     FROM numbers, (SELECT * FROM task LIMIT 1) t ORDER BY n",
];

pub(crate) async fn fill(place: &str, tasks: u64, projects: u64) -> io::Result<Value> {
    let store = open(place).await?;
    store.request(request("hello")?).await.map_err(io::Error::other)?;
    store.close().await;
    let (numbers, id) = if is_postgres(place) {
        ("SELECT n FROM generate_series(1, TASKS) AS n", "'KIND0000-0000-4000-8000-' || lpad(n::text, 12, '0')")
    } else {
        let numbers = "SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < TASKS";
        (numbers, "printf('KIND0000-0000-4000-8000-%012d', n)")
    };
    let (service, task) = (id.replace("KIND", "5555"), id.replace("KIND", "7777"));
    for copy in COPIES {
        let insert =
            copy.replace("{service}", &service).replace("{task}", &task).replace("PROJECTS", &projects.to_string());
        let numbers = numbers.replace("TASKS", &tasks.to_string());
        let sql = insert.replacen(" SELECT", &format!(" WITH RECURSIVE numbers (n) AS ({numbers}) SELECT"), 1);
        run(place, sql).await.map_err(io::Error::other)?;
    }
    // The first was of another project.
    for table in ["task", "service"] {
        run(place, format!("DELETE FROM {table} WHERE project = 'default'")).await.map_err(io::Error::other)?;
    }
    run(place, "ANALYZE".to_owned()).await.map_err(io::Error::other)?;
    Ok(json!({ "tasks": tasks }))
}

async fn run(place: &str, sql: String) -> sqlx::Result<()> {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql));
    if is_postgres(place) {
        let mut db = PgConnection::connect(place).await?;
        sql.execute(&mut db).await?;
        return db.close().await;
    }
    let mut db = SqliteConnection::connect_with(&sqlx::sqlite::SqliteConnectOptions::new().filename(place)).await?;
    sql.execute(&mut db).await?;
    db.close().await
}
